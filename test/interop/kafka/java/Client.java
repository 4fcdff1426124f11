import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.GroupAuthorizationException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.TopicAuthorizationException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.TransactionalIdAuthorizationException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java clients against a server: {@code main} runs every scenario, {@code through}
 * writes while the server is killed, {@code resume} is what must still hold afterwards. Prints
 * "ok NAME" or "not ok NAME reason" lines. The environment says where the server is.
 */
public final class Client {
    interface Scenario {
        void run() throws Exception;
    }

    static final String NAME = env("KAFKA_NAME", "java");
    static final String DATA = env("KAFKA_PREFIX", "") + NAME + "-data";
    static final String SHARED = env("KAFKA_PREFIX", "") + NAME + "-group";
    static final String ONCE = env("KAFKA_PREFIX", "") + NAME + "-once";
    static boolean failed;

    static String env(String key, String otherwise) {
        String v = System.getenv(key);
        return v == null || v.isEmpty() ? otherwise : v;
    }

    static void test(String what, Scenario s) {
        if (!what.contains(env("KAFKA_ONLY", ""))) {
            return;
        }
        long began = System.nanoTime();
        try {
            s.run();
            System.out.println("ok " + NAME + ": " + what);
        } catch (Throwable e) {
            failed = true;
            System.out.println("not ok " + NAME + ": " + what + " " + String.valueOf(e).replace('\n', ' '));
            e.printStackTrace();
        }
        System.err.println(what + " took " + (System.nanoTime() - began) / 1000000 + " ms");
    }

    static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] b) {
        return b == null ? null : new String(b, StandardCharsets.UTF_8);
    }

    static Properties as(String user, String password, String... more) {
        Properties p = new Properties();
        boolean tls = System.getenv("KAFKA_TLS") != null && !System.getenv("KAFKA_TLS").isEmpty();
        p.put("bootstrap.servers", System.getenv(tls ? "KAFKA_TLS" : "KAFKA_PLAIN"));
        p.put("security.protocol", tls ? "SASL_SSL" : "SASL_PLAINTEXT");
        p.put("sasl.mechanism", "PLAIN");
        p.put("sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required username=\""
            + user + "\" password=\"" + password + "\";");
        if (tls) {
            p.put("ssl.truststore.type", "PEM");
            p.put("ssl.truststore.location", System.getenv("KAFKA_CA"));
        }
        p.put("request.timeout.ms", "10000");
        p.put("default.api.timeout.ms", "12000");
        for (int i = 0; i < more.length; i += 2) {
            p.put(more[i], more[i + 1]);
        }
        return p;
    }

    static Properties all(String... more) {
        return as(System.getenv("KAFKA_USER"), System.getenv("KAFKA_PASSWORD"), more);
    }

    static Producer<byte[], byte[]> producer(Properties p) {
        p.putIfAbsent("max.block.ms", "12000");
        p.putIfAbsent("delivery.timeout.ms", "15000");
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static Consumer<byte[], byte[]> consumer(Properties p) {
        p.putIfAbsent("enable.auto.commit", "false");
        p.putIfAbsent("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static ProducerRecord<byte[], byte[]> rec(String topic, int partition, String value) {
        return new ProducerRecord<>(topic, partition, null, bytes(value));
    }

    static List<ConsumerRecord<byte[], byte[]>> read(Consumer<byte[], byte[]> c, int n) {
        List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (got.size() < n) {
            check(System.nanoTime() < limit, got.size() + " of " + n + " records");
            c.poll(Duration.ofMillis(300)).forEach(got::add);
        }
        return got;
    }

    static List<ConsumerRecord<byte[], byte[]>> readFrom(Properties p, String topic, int partition, long at, int n) {
        try (Consumer<byte[], byte[]> c = consumer(p)) {
            TopicPartition tp = new TopicPartition(topic, partition);
            c.assign(List.of(tp));
            c.seek(tp, at);
            return read(c, n);
        }
    }

    static long end(String topic, int partition) {
        try (Consumer<byte[], byte[]> c = consumer(all())) {
            TopicPartition tp = new TopicPartition(topic, partition);
            return c.endOffsets(List.of(tp)).get(tp);
        }
    }

    static void wants(Class<? extends Throwable> kind, Scenario s) throws Exception {
        try {
            s.run();
        } catch (Throwable e) {
            Throwable t = e instanceof ExecutionException || e.getClass() == KafkaException.class ? e.getCause() : e;
            check(kind.isInstance(t), "another error: " + e);
            return;
        }
        throw new AssertionError("no error, but must be " + kind.getSimpleName());
    }

    static void connects(Properties p) throws Exception {
        try (Admin a = Admin.create(p)) {
            check(a.listTopics().names().get().contains(DATA), DATA + " is not listed");
            check(a.describeTopics(List.of(DATA)).allTopicNames().get().get(DATA).partitions().size() == 4, "partitions");
            check(a.describeCluster().nodes().get().size() == 1, "one node");
            check(!a.describeCluster().clusterId().get().isEmpty(), "cluster id");
        }
    }

    static void codec(String kind) throws Exception {
        long start = end(DATA, 0);
        long when = System.currentTimeMillis() - 60000;
        try (Producer<byte[], byte[]> p = producer(all("compression.type", kind, "linger.ms", "20"))) {
            for (int i = 0; i < 50; i++) {
                ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(DATA, 0, when + i, bytes("key" + i),
                    bytes(kind + " " + i + " " + "squeeze me ".repeat(20)));
                r.headers().add("n", bytes("" + i)).add("n", null);
                p.send(r);
            }
        }
        List<ConsumerRecord<byte[], byte[]>> got = readFrom(all(), DATA, 0, start, 50);
        for (int i = 0; i < 50; i++) {
            ConsumerRecord<byte[], byte[]> g = got.get(i);
            Header[] h = g.headers().toArray();
            check(g.offset() == start + i && text(g.key()).equals("key" + i) && g.timestamp() == when + i
                && text(g.value()).startsWith(kind + " " + i + " squeeze") && h.length == 2
                && text(h[0].value()).equals("" + i) && h[1].value() == null, kind + " " + i + " differs: " + g);
        }
    }

    static void acks() throws Exception {
        for (String a : List.of("0", "1", "all")) {
            long start = end(DATA, 1);
            try (Producer<byte[], byte[]> p = producer(all("acks", a, "enable.idempotence", "false"))) {
                RecordMetadata m = p.send(rec(DATA, 1, "acks " + a)).get();
                check(a.equals("0") ? !m.hasOffset() : m.offset() == start, "acks " + a + ": " + m);
            }
            check(text(readFrom(all(), DATA, 1, start, 1).get(0).value()).equals("acks " + a), "acks " + a);
        }
    }

    static void nothing() throws Exception {
        long start = end(DATA, 1);
        try (Producer<byte[], byte[]> p = producer(all())) {
            p.send(new ProducerRecord<>(DATA, 1, bytes("k"), null));
            p.send(new ProducerRecord<>(DATA, 1, null, new byte[0]));
            p.send(new ProducerRecord<>(DATA, 1, new byte[0], bytes("v"))).get();
        }
        List<ConsumerRecord<byte[], byte[]>> got = readFrom(all(), DATA, 1, start, 3);
        check(got.get(0).value() == null && got.get(1).value().length == 0 && got.get(1).key() == null
            && got.get(2).key().length == 0, got);
    }

    static void idempotent() throws Exception {
        long start = end(DATA, 2);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (Producer<byte[], byte[]> p = producer(all("batch.size", "500"))) {
            for (int i = 0; i < 2000; i++) {
                sent.add(p.send(rec(DATA, 2, String.format("%06d", i))));
            }
        }
        for (int i = 0; i < 2000; i++) {
            check(sent.get(i).get().offset() == start + i, i + " is at " + sent.get(i).get().offset());
        }
        List<ConsumerRecord<byte[], byte[]>> got = readFrom(all(), DATA, 2, start, 2000);
        for (int i = 0; i < 2000; i++) {
            check(text(got.get(i).value()).equals(String.format("%06d", i)), "at " + i + ": " + text(got.get(i).value()));
        }
    }

    /** Writes for some seconds, in which the server is killed: all arrives, once, in order. */
    static void through() throws Exception {
        long start = end(DATA, 2);
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(8);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (Producer<byte[], byte[]> p = producer(all("delivery.timeout.ms", "60000", "request.timeout.ms", "5000",
                "max.block.ms", "40000", "reconnect.backoff.max.ms", "500"))) {
            while (System.nanoTime() < limit) {
                sent.add(p.send(rec(DATA, 2, String.format("%06d", sent.size()))));
                Thread.sleep(1);
            }
        }
        for (int i = 0; i < sent.size(); i++) {
            check(sent.get(i).get().offset() == start + i, i + " is at " + sent.get(i).get().offset());
        }
        check(end(DATA, 2) == start + sent.size(), "there are " + (end(DATA, 2) - start) + ", not " + sent.size());
        List<ConsumerRecord<byte[], byte[]>> got = readFrom(all(), DATA, 2, start, sent.size());
        for (int i = 0; i < sent.size(); i++) {
            check(text(got.get(i).value()).equals(String.format("%06d", i)), "at " + i + ": " + text(got.get(i).value()));
        }
        System.err.println(sent.size() + " records got through");
    }

    static void positions() throws Exception {
        long start = end(DATA, 3);
        long t = System.currentTimeMillis() - 100000;
        TopicPartition tp = new TopicPartition(DATA, 3);
        try (Producer<byte[], byte[]> p = producer(all())) {
            for (int i = 0; i < 10; i++) {
                p.send(new ProducerRecord<>(DATA, 3, t + 1000L * i, null, bytes("at " + i))).get();
            }
        }
        try (Consumer<byte[], byte[]> c = consumer(all()); Admin a = Admin.create(all())) {
            c.assign(List.of(tp));
            c.seekToBeginning(List.of(tp));
            check(read(c, 10).get(0).offset() == 0, "earliest");
            check(c.offsetsForTimes(Map.of(tp, t + 4500)).get(tp).offset() == start + 5, "a time");
            check(c.offsetsForTimes(Map.of(tp, t + 3000)).get(tp).offset() == start + 3, "an exact time");
            check(c.offsetsForTimes(Map.of(tp, t + 900000)).get(tp) == null, "a time to come");
            c.seek(tp, start + 7);
            check(read(c, 3).get(0).offset() == start + 7, "an offset");
            c.seekToEnd(List.of(tp));
            check(c.position(tp) == start + 10, "the end");
            check(c.beginningOffsets(List.of(tp)).get(tp) == 0, "the beginning");
            long last = a.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).partitionResult(tp).get().offset();
            check(last == start + 9, "the greatest timestamp is at " + last);
        }
    }

    static void produce(int from) throws Exception {
        try (Producer<byte[], byte[]> p = producer(all())) {
            for (int i = from; i < from + 200; i++) {
                p.send(rec(SHARED, i % 4, "" + i));
            }
        }
    }

    static Consumer<byte[], byte[]> member(String strategy) {
        Consumer<byte[], byte[]> c = consumer(all("group.id", SHARED + "-" + strategy, "heartbeat.interval.ms", "300",
            "session.timeout.ms", "6000", "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + strategy));
        c.subscribe(List.of(SHARED));
        return c;
    }

    /** Two members share four partitions; one leaves and the other has all; nothing is lost. */
    static void group(String strategy) throws Exception {
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(40);
        Set<String> seen = new HashSet<>();
        List<Consumer<byte[], byte[]>> members = new ArrayList<>(List.of(member(strategy), member(strategy)));
        long before = end(SHARED, 0) * 4;
        produce(0);
        try {
            while (seen.size() < before + 200 || members.stream().anyMatch(m -> m.assignment().size() != 2)) {
                check(System.nanoTime() < limit, seen.size() + " seen, assigned " + members.get(0).assignment() + " and "
                    + members.get(1).assignment());
                for (Consumer<byte[], byte[]> m : members) {
                    m.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.partition() + "/" + r.offset()));
                    m.commitAsync();
                }
            }
            members.remove(0).close();
            produce(10000);
            while (seen.size() < before + 400 || members.get(0).assignment().size() != 4) {
                check(System.nanoTime() < limit, "after one left: " + seen.size() + " seen, assigned " + members.get(0).assignment());
                members.get(0).poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.partition() + "/" + r.offset()));
            }
            members.get(0).commitSync();
        } finally {
            members.forEach(m -> m.close());
        }
    }

    static Consumer<byte[], byte[]> reader(Properties p) {
        p.put("group.id", ONCE + "-reader");
        p.put("max.poll.records", "1");
        Consumer<byte[], byte[]> c = consumer(p);
        c.subscribe(List.of(ONCE));
        return c;
    }

    static void next(int want) {
        try (Consumer<byte[], byte[]> c = reader(all())) {
            ConsumerRecord<byte[], byte[]> r = read(c, 1).get(0);
            check(text(r.value()).equals("" + want), "got " + text(r.value()) + ", not " + want);
            TopicPartition tp = new TopicPartition(ONCE, 0);
            c.commitSync(Map.of(tp, new OffsetAndMetadata(want + 1, "note " + want)));
            OffsetAndMetadata at = c.committed(Set.of(tp)).get(tp);
            check(at.offset() == want + 1 && at.metadata().equals("note " + want), at);
        }
    }

    static void commits() throws Exception {
        try (Producer<byte[], byte[]> p = producer(all())) {
            for (int i = 0; i < 10; i++) {
                p.send(rec(ONCE, 0, "" + i)).get();
            }
        }
        for (int i = 0; i < 3; i++) {
            next(i);
        }
    }

    static void groupAdmin() throws Exception {
        TopicPartition tp = new TopicPartition(ONCE, 0);
        String outside = ONCE + "-outside";
        try (Admin a = Admin.create(all()); Consumer<byte[], byte[]> c = reader(all())) {
            read(c, 1);
            check(a.listConsumerGroups().all().get().stream().anyMatch(g -> g.groupId().equals(ONCE + "-reader")), "not listed");
            ConsumerGroupDescription d = a.describeConsumerGroups(List.of(ONCE + "-reader")).all().get().get(ONCE + "-reader");
            check(d.members().size() == 1 && d.members().iterator().next().assignment().topicPartitions().equals(Set.of(tp))
                && d.partitionAssignor().equals("range"), d);
            check(a.listConsumerGroupOffsets(ONCE + "-reader").partitionsToOffsetAndMetadata().get().get(tp).offset() == 3, "offset");
            a.alterConsumerGroupOffsets(outside, Map.of(tp, new OffsetAndMetadata(5))).all().get();
            check(a.listConsumerGroupOffsets(outside).partitionsToOffsetAndMetadata().get().get(tp).offset() == 5, "altered");
            a.deleteConsumerGroupOffsets(outside, Set.of(tp)).all().get();
            check(a.listConsumerGroupOffsets(outside).partitionsToOffsetAndMetadata().get().get(tp) == null, "deleted");
            a.alterConsumerGroupOffsets(outside, Map.of(tp, new OffsetAndMetadata(6))).all().get();
            a.deleteConsumerGroups(List.of(outside)).all().get();
            wants(GroupIdNotFoundException.class, () -> a.deleteConsumerGroups(List.of(outside)).all().get());
        }
    }

    static void topicAdmin() throws Exception {
        String topic = env("KAFKA_PREFIX", "") + NAME + "-made";
        try (Admin a = Admin.create(all())) {
            a.createTopics(List.of(new NewTopic(topic, Optional.of(2), Optional.empty()))).all().get();
            wants(TopicExistsException.class, () -> a.createTopics(List.of(new NewTopic(topic, 2, (short) 1))).all().get());
            a.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            try (Producer<byte[], byte[]> p = producer(all())) {
                p.send(rec(topic, 4, "in the new partition")).get();
            }
            ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            check(a.describeConfigs(List.of(r)).all().get().get(r).get("cleanup.policy").value().equals("delete"), "cleanup.policy");
            check(a.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 5, "partitions");
            a.deleteTopics(List.of(topic)).all().get();
            wants(UnknownTopicOrPartitionException.class, () -> a.deleteTopics(List.of(topic)).all().get());
        }
    }

    static void badPassword() throws Exception {
        Properties p = as(System.getenv("KAFKA_USER"), "wrong");
        wants(SaslAuthenticationException.class, () -> {
            try (Admin a = Admin.create(p)) {
                a.listTopics().names().get();
            }
        });
    }

    static void unknownTopic() throws Exception {
        wants(TimeoutException.class, () -> {
            try (Producer<byte[], byte[]> p = producer(all("max.block.ms", "1500"))) {
                p.send(rec("no-such-hub", 0, "x")).get();
            }
        });
        wants(UnknownTopicOrPartitionException.class, () -> {
            try (Admin a = Admin.create(all())) {
                a.describeTopics(List.of("no-such-hub")).allTopicNames().get();
            }
        });
    }

    static void outOfRange() throws Exception {
        wants(OffsetOutOfRangeException.class, () -> readFrom(all("auto.offset.reset", "none"), DATA, 0, 1L << 40, 1));
    }

    static void tooLarge() throws Exception {
        wants(RecordTooLargeException.class, () -> {
            try (Producer<byte[], byte[]> p = producer(all("max.request.size", "9000000", "buffer.memory", "20000000"))) {
                p.send(new ProducerRecord<>(DATA, 1, null, new byte[5000000])).get();
            }
        });
    }

    static void sendOnly() throws Exception {
        String user = System.getenv("KAFKA_SEND_USER");
        String password = System.getenv("KAFKA_SEND_PASSWORD");
        try (Producer<byte[], byte[]> p = producer(as(user, password))) {
            p.send(rec(DATA, 1, "by a sender")).get();
        }
        wants(TopicAuthorizationException.class, () -> readFrom(as(user, password), DATA, 1, 0, 1));
        wants(GroupAuthorizationException.class, () -> {
            try (Consumer<byte[], byte[]> c = reader(as(user, password))) {
                read(c, 1);
            }
        });
    }

    static void listenOnly() throws Exception {
        String user = System.getenv("KAFKA_LISTEN_USER");
        String password = System.getenv("KAFKA_LISTEN_PASSWORD");
        readFrom(as(user, password), DATA, 0, 0, 1);
        for (String idempotence : List.of("true", "false")) {
            wants(AuthorizationException.class, () -> {
                try (Producer<byte[], byte[]> p = producer(as(user, password, "enable.idempotence", idempotence))) {
                    p.send(rec(DATA, 1, "by a listener")).get();
                }
            });
        }
        wants(AuthorizationException.class, () -> {
            try (Admin a = Admin.create(as(user, password))) {
                a.deleteTopics(List.of(DATA)).all().get();
            }
        });
    }

    static void transactional() throws Exception {
        wants(TransactionalIdAuthorizationException.class, () -> {
            try (Producer<byte[], byte[]> p = producer(all("transactional.id", "tx"))) {
                p.initTransactions();
            }
        });
    }

    static void everything() {
        test("connects and lists", () -> connects(all()));
        if (!env("KAFKA_TLS", "").isEmpty()) {
            test("connects with a policy's name and key",
                () -> connects(as(System.getenv("KAFKA_POLICY"), System.getenv("KAFKA_KEY"))));
        }
        for (String kind : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            test("codec " + kind + ", keys, headers, timestamps", () -> codec(kind));
        }
        test("acks 0, 1, all", Client::acks);
        test("null and empty keys and values", Client::nothing);
        test("idempotent producer in order", Client::idempotent);
        test("earliest, an offset, a time", Client::positions);
        test("two members share, one leaves", () -> group("RangeAssignor"));
        test("two members share, one leaves, cooperatively", () -> group("CooperativeStickyAssignor"));
        test("committed offsets are there after a restart", Client::commits);
        test("groups and their offsets are shown and deleted", Client::groupAdmin);
        test("topics are made, grown, described, deleted", Client::topicAdmin);
        test("wrong password", Client::badPassword);
        test("unknown topic", Client::unknownTopic);
        test("offset out of range", Client::outOfRange);
        test("a record too large", Client::tooLarge);
        test("Send only", Client::sendOnly);
        test("Listen only", Client::listenOnly);
        if (!env("KAFKA_TRANSACTIONS", "").isEmpty()) {
            test("transactions are refused", Client::transactional);
        }
    }

    public static void main(String[] args) {
        if (args.length > 0 && args[0].equals("resume")) {
            test("committed offsets are there after the server was killed", () -> next(3));
            test("produces after the server was killed", Client::idempotent);
        } else if (args.length > 0 && args[0].equals("through")) {
            test("idempotent producer while the server is killed", Client::through);
        } else {
            everything();
        }
        System.exit(failed ? 1 : 0);
    }
}
