import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * One throughput unit: ten times as much at once, as kafka-producer-perf-test sends it, with the producer's own
 * time-outs; and what its metrics say of the throttling.
 */
public final class Throttle {
    static final int COUNT = 10240;

    static void burst() throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        long began = System.nanoTime();
        double throttled = 0;
        // Client.as shortens the time-outs: these are the producer's own.
        try (Producer<byte[], byte[]> p = new KafkaProducer<>(Client.as(System.getenv("KAFKA_USER"),
            System.getenv("KAFKA_PASSWORD"), "request.timeout.ms", "30000"), new ByteArraySerializer(),
            new ByteArraySerializer())) {
            for (int i = 0; i < COUNT; i++) {
                sent.add(p.send(new ProducerRecord<>("java-burst", 0, null, new byte[1024])));
            }
            p.flush();
            for (Metric m : p.metrics().values()) {
                if (m.metricName().name().equals("produce-throttle-time-max")) {
                    throttled = (Double) m.metricValue();
                }
            }
        }
        double took = (System.nanoTime() - began) / 1e9;
        for (int i = 0; i < COUNT; i++) {
            if (sent.get(i).get().offset() != i) {
                throw new AssertionError("record " + i + " is at " + sent.get(i).get().offset());
            }
        }
        if (took < COUNT / 1000.0 - 1.2 || took > COUNT / 1000.0 + 6) {
            throw new AssertionError("it took " + took + " s");
        }
        if (!(throttled > 0)) {
            throw new AssertionError("produce-throttle-time-max is " + throttled);
        }
    }

    public static void main(String[] args) {
        Client.test("ten units at once arrive in order, and the throttling is told", Throttle::burst);
        System.exit(Client.failed ? 1 : 0);
    }
}
