import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What becomes of old events, by Kafka's own tools: topics made as Connect, Streams and others make them, settings
 * changed and shown, records deleted, topics compacted.
 */
public final class Retention {
    static final String PREFIX = Client.env("KAFKA_NAME", "java") + "-";
    static final byte[] FILLING = new byte[2000];

    static Properties all(String... more) {
        return Client.as(System.getenv("KAFKA_USER"), System.getenv("KAFKA_PASSWORD"), more);
    }

    static Producer<byte[], byte[]> producer(String... more) {
        return new KafkaProducer<>(all(more), new ByteArraySerializer(), new ByteArraySerializer());
    }

    static Consumer<byte[], byte[]> consumer(String reset) {
        return new KafkaConsumer<>(all("auto.offset.reset", reset, "enable.auto.commit", "false"),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static void make(Admin admin, String name, Map<String, String> settings) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, 1, (short) 1).configs(settings))).all().get();
    }

    static Map<String, ConfigEntry> settings(Admin admin, String name) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, name);
        Config config = admin.describeConfigs(List.of(topic)).all().get().get(topic);
        Map<String, ConfigEntry> out = new HashMap<>();
        config.entries().forEach(e -> out.put(e.name(), e));
        return out;
    }

    static void change(Admin admin, String name, String setting, String value, AlterConfigOp.OpType op)
        throws Exception {
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry(setting, value), op));
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, name), ops)).all().get();
    }

    static Throwable failure(Client.Scenario s) throws Exception {
        try {
            s.run();
        } catch (ExecutionException e) {
            return e.getCause();
        }
        return null;
    }

    static long earliest(Admin admin, TopicPartition p) throws Exception {
        return admin.listOffsets(Map.of(p, OffsetSpec.earliest())).partitionResult(p).get().offset();
    }

    static void send(String topic, int n, String... more) throws Exception {
        try (Producer<byte[], byte[]> p = producer(more)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < n; i++) {
                sent.add(p.send(new ProducerRecord<>(topic, 0, Client.bytes("k" + i), Client.bytes("v" + i))));
            }
            for (Future<RecordMetadata> f : sent) {
                f.get(10, TimeUnit.SECONDS);
            }
        }
    }

    /** Everything from the log's start to its end, as it was at the call. */
    static List<ConsumerRecord<byte[], byte[]>> readAll(TopicPartition p) {
        List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
        try (Consumer<byte[], byte[]> c = consumer("earliest")) {
            c.assign(List.of(p));
            c.seekToBeginning(List.of(p));
            long end = c.endOffsets(List.of(p)).get(p);
            long until = System.nanoTime() + 20_000_000_000L;
            while (c.position(p) < end) {
                Client.check(System.nanoTime() < until, "read to " + c.position(p) + " of " + end);
                c.poll(Duration.ofMillis(300)).forEach(got::add);
            }
        }
        for (int i = 1; i < got.size(); i++) {
            Client.check(got.get(i).offset() > got.get(i - 1).offset(), "offsets do not ascend");
        }
        return got;
    }

    static void tools() throws Exception {
        try (Admin admin = Admin.create(all())) {
            make(admin, PREFIX + "connect", Map.of("cleanup.policy", "compact", "min.insync.replicas", "1"));
            make(admin, PREFIX + "streams", Map.of("cleanup.policy", "compact,delete", "retention.ms", "172800000",
                "segment.bytes", "52428800", "message.timestamp.type", "CreateTime"));
            make(admin, PREFIX + "repartition", Map.of("cleanup.policy", "delete", "retention.ms", "-1",
                "segment.bytes", "52428800", "message.timestamp.type", "CreateTime"));
            Map<String, ConfigEntry> s = settings(admin, PREFIX + "connect");
            Client.check(s.get("cleanup.policy").value().equals("compact"), s.get("cleanup.policy"));
            Client.check(s.get("cleanup.policy").source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG,
                s.get("cleanup.policy").source());
            Client.check(s.get("retention.ms").isDefault(), s.get("retention.ms"));
            s = settings(admin, PREFIX + "streams");
            Client.check(s.get("cleanup.policy").value().equals("compact,delete"), s.get("cleanup.policy"));
            Client.check(s.get("retention.ms").value().equals("172800000"), s.get("retention.ms"));
            Client.check(s.get("min.compaction.lag.ms").value().equals("0"), s.get("min.compaction.lag.ms"));
            Throwable e = failure(() -> make(admin, PREFIX + "late", Map.of("min.compaction.lag.ms", "1000")));
            Client.check(e instanceof InvalidConfigurationException, e);
        }
    }

    static void changes() throws Exception {
        try (Admin admin = Admin.create(all())) {
            String name = PREFIX + "changed";
            make(admin, name, Map.of());
            change(admin, name, "retention.ms", "60000", AlterConfigOp.OpType.SET);
            change(admin, name, "retention.bytes", "1000000", AlterConfigOp.OpType.SET);
            change(admin, name, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
            change(admin, name, "segment.ms", "1000", AlterConfigOp.OpType.SET);
            Map<String, ConfigEntry> s = settings(admin, name);
            Client.check(s.get("retention.ms").value().equals("60000"), s.get("retention.ms"));
            Client.check(s.get("retention.bytes").value().equals("1000000"), s.get("retention.bytes"));
            Client.check(s.get("cleanup.policy").value().equals("compact,delete"), s.get("cleanup.policy"));
            change(admin, name, "retention.ms", "", AlterConfigOp.OpType.DELETE);
            change(admin, name, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
            s = settings(admin, name);
            Client.check(s.get("retention.ms").value().equals("-1"), s.get("retention.ms"));
            Client.check(s.get("cleanup.policy").value().equals("compact"), s.get("cleanup.policy"));
            Throwable e = failure(() -> change(admin, name, "cleanup.policy", "x", AlterConfigOp.OpType.SET));
            Client.check(e instanceof InvalidConfigurationException, e);
        }
    }

    static void deletes() throws Exception {
        String name = PREFIX + "deleted";
        TopicPartition p = new TopicPartition(name, 0);
        try (Admin admin = Admin.create(all())) {
            make(admin, name, Map.of());
            send(name, 100);
            long low = admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(55))).lowWatermarks().get(p).get()
                .lowWatermark();
            Client.check(low == 55, low);
            Client.check(earliest(admin, p) == 55, earliest(admin, p));
            List<ConsumerRecord<byte[], byte[]>> got = readAll(p);
            Client.check(got.size() == 45 && got.get(0).offset() == 55, got.size() + " from " + got.get(0).offset());
            try (Consumer<byte[], byte[]> c = consumer("none")) {
                c.assign(List.of(p));
                c.seek(p, 10);
                try {
                    c.poll(Duration.ofSeconds(5));
                    Client.check(false, "what is deleted was read");
                } catch (OffsetOutOfRangeException expected) {
                    Client.check(expected.partitions().contains(p), expected);
                }
            }
            try (Consumer<byte[], byte[]> c = consumer("earliest")) {
                c.assign(List.of(p));
                c.seek(p, 10);
                long until = System.nanoTime() + 10_000_000_000L;
                long first = -1;
                while (first < 0 && System.nanoTime() < until) {
                    for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(300))) {
                        first = first < 0 ? r.offset() : first;
                    }
                }
                Client.check(first == 55, "goes on at " + first);
            }
            Throwable e = failure(() ->
                admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(101))).all().get());
            Client.check(e instanceof org.apache.kafka.common.errors.OffsetOutOfRangeException, e);
            low = admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(p).get()
                .lowWatermark();
            Client.check(low == 100, low);
            TopicPartition compacted = new TopicPartition(PREFIX + "connect", 0);
            e = failure(() -> admin.deleteRecords(Map.of(compacted, RecordsToDelete.beforeOffset(-1))).all().get());
            Client.check(e instanceof PolicyViolationException, e);
        }
    }

    static void keys() throws Exception {
        String name = PREFIX + "connect";
        try (Producer<byte[], byte[]> p = producer("linger.ms", "0")) {
            Throwable e = failure(() -> p.send(new ProducerRecord<>(name, Client.bytes("without"))).get());
            Client.check(e instanceof InvalidRecordException, e);
            p.send(new ProducerRecord<>(name, Client.bytes("k"), Client.bytes("with"))).get();
        }
    }

    static void retention() throws Exception {
        String name = PREFIX + "short";
        TopicPartition p = new TopicPartition(name, 0);
        try (Admin admin = Admin.create(all())) {
            make(admin, name, Map.of("retention.ms", "1500"));
            send(name, 50);
            long until = System.nanoTime() + 20_000_000_000L;
            while (earliest(admin, p) < 50) {
                Client.check(System.nanoTime() < until, "the log still begins at " + earliest(admin, p));
                Thread.sleep(100);
            }
            send(name, 1);
            Client.check(readAll(p).get(0).offset() == 50, "an event after it");
        }
    }

    /** Four keys, written over and over beyond several segments, with each codec. */
    static void compaction(String codec) throws Exception {
        String name = PREFIX + "table-" + codec;
        TopicPartition p = new TopicPartition(name, 0);
        int keys = 20;
        int rounds = 100;
        try (Admin admin = Admin.create(all())) {
            make(admin, name, Map.of("cleanup.policy", "compact"));
            java.util.Random random = new java.util.Random(7);
            try (Producer<byte[], byte[]> out = producer("compression.type", codec, "linger.ms", "5")) {
                for (int round = 0; round < rounds; round++) {
                    for (int k = 0; k < keys; k++) {
                        random.nextBytes(FILLING);
                        byte[] value = FILLING.clone();
                        System.arraycopy(Client.bytes(String.format("%05d", round)), 0, value, 0, 5);
                        out.send(new ProducerRecord<>(name, 0, Client.bytes("k" + k), value));
                    }
                }
                out.flush();
                out.send(new ProducerRecord<>(name, 0, Client.bytes("k0"), null)).get();
            }
            /* Others fill segments, so that those of this topic are closed. */
            String other = PREFIX + "filling-" + codec;
            make(admin, other, Map.of());
            try (Producer<byte[], byte[]> out = producer("linger.ms", "5")) {
                for (int i = 0; i < 1500; i++) {
                    random.nextBytes(FILLING);
                    out.send(new ProducerRecord<>(other, 0, null, FILLING.clone()));
                }
            }
            long until = System.nanoTime() + 60_000_000_000L;
            List<ConsumerRecord<byte[], byte[]>> got = readAll(p);
            while (got.size() > keys * rounds / 2) {
                Client.check(System.nanoTime() < until, got.size() + " records are left");
                Thread.sleep(500);
                got = readAll(p);
            }
            Map<String, String> last = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> r : got) {
                String value = r.value() == null ? null : new String(r.value(), 0, 5);
                /* Record n of round m was written at m * keys + n. */
                Client.check(value == null || Integer.parseInt(value) == r.offset() / keys, "offset of " + value);
                last.put(Client.text(r.key()), value);
            }
            Client.check(last.get("k0") == null, "the key that was deleted is " + last.get("k0"));
            for (int k = 1; k < keys; k++) {
                Client.check(String.format("%05d", rounds - 1).equals(last.get("k" + k)), "k" + k + " " + last.get("k" + k));
            }
            Client.check(got.get(got.size() - 1).offset() == (long) keys * rounds, "the end");
        }
    }

    public static void main(String[] args) {
        Client.test("topics as Connect and Streams make them", Retention::tools);
        Client.test("settings are changed and shown", Retention::changes);
        Client.test("records are deleted", Retention::deletes);
        Client.test("compacted topics need keys", Retention::keys);
        Client.test("time is over for events", Retention::retention);
        for (String codec : args.length > 0 ? args[0].split(",") : new String[] {"none"}) {
            Client.test("only the newest of each key stay, " + codec, () -> compaction(codec));
        }
        System.exit(Client.failed ? 1 : 0);
    }
}
