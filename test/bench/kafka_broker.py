"""A real Apache Kafka, one KRaft node, from its published jars: what the server is
measured beside. The jars come from Maven Central through mvn, once."""
import os
import shutil
import socket
import struct
import subprocess
import time

HERE = os.path.dirname(__file__)
INTO = os.environ.get("BENCH_KAFKA", "build/bench-kafka")
JARS = INTO + "/jars"
VERSION = "3.9.2"
# As bin/kafka-server-start.sh starts it.
JAVA = ["java", "-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"]
LOG4J = """log4j.rootLogger=WARN, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=%d %p %m%n
"""


def missing():
    """Why there is no broker, or None: gets the jars when they are not there."""
    if shutil.which("java") is None:
        return "there is no Java runtime"
    if os.path.exists(f"{JARS}/kafka_2.13-{VERSION}.jar") and os.path.exists(INTO + "/.complete"):
        return None
    if shutil.which("mvn") is None:
        return "there is no mvn to get Apache Kafka's jars with"
    os.makedirs(INTO, exist_ok=True)
    try:
        r = subprocess.run(["mvn", "-q", "-B", "-f", HERE + "/kafka/pom.xml", "-DincludeScope=runtime",
                            "-DoutputDirectory=" + os.path.abspath(JARS), "dependency:copy-dependencies"],
                           capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "Maven Central does not answer"
    if r.returncode != 0:
        return "Apache Kafka's jars cannot be got from Maven Central"
    open(INTO + "/.complete", "w").close()
    return None


def java(work, *args, heap=None):
    with open(work + "/log4j.properties", "w") as f:
        f.write(LOG4J)
    options = JAVA if heap is None else [JAVA[0], f"-Xmx{heap}", *JAVA[3:]]
    return [*options, f"-Dlog4j.configuration=file:{work}/log4j.properties", "-cp", os.path.abspath(JARS) + "/*", *args]


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    return port


def string(s):
    return struct.pack(">h", len(s)) + s.encode()


class Broker:
    """`tls`: (certificate chain, key, CA) as PEM files; `password`: what PLAIN must say."""

    def __init__(self, work, tls, password):
        self.work = work + "/kafka"
        os.makedirs(self.work)
        self.plain, self.tls, controller = free_port(), free_port(), free_port()
        with open(self.work + "/tls.pem", "w") as f:
            f.write(subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", tls[1]], check=True,
                                   capture_output=True, text=True).stdout + open(tls[0]).read())
        os.chmod(self.work + "/tls.pem", 0o600)
        with open(self.work + "/server.properties", "w") as f:
            f.write(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{self.plain},SASL_SSL://127.0.0.1:{self.tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{self.plain},SASL_SSL://127.0.0.1:{self.tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={self.work}/logs
log.segment.delete.delay.ms=1000
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
ssl.keystore.type=PEM
ssl.keystore.location={self.work}/tls.pem
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_$ConnectionString="{password}";
""")
        config = self.work + "/server.properties"
        node = subprocess.run(java(self.work, "kafka.tools.StorageTool", "random-uuid", heap="256M"), check=True,
                              capture_output=True, text=True).stdout.split()[-1]
        subprocess.run(java(self.work, "kafka.tools.StorageTool", "format", "-t", node, "-c", config, heap="256M"),
                       check=True, capture_output=True)
        self.log = open(self.work + "/log", "ab")
        self.p = subprocess.Popen(java(self.work, "kafka.Kafka", config), stdout=self.log, stderr=self.log)
        try:
            self.wait_ready()
        except BaseException:
            self.p.kill()
            raise

    def wait_ready(self):
        until = time.monotonic() + 60
        while True:
            try:
                self.create("ready", 1)
                return
            except (OSError, RuntimeError) as e:
                if self.p.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("Apache Kafka does not start: " + self.tail()) from e
                time.sleep(0.3)

    def tail(self):
        return open(self.work + "/log").read()[-600:]

    def call(self, key, version, body):
        with socket.create_connection(("127.0.0.1", self.plain), 30) as s:
            s.settimeout(30)
            frame = struct.pack(">hhi", key, version, 1) + string("bench") + body
            s.sendall(struct.pack(">i", len(frame)) + frame)
            f = s.makefile("rb")
            n = f.read(4)
            if len(n) < 4:
                raise RuntimeError("closed")
            return f.read(struct.unpack(">i", n)[0])[4:]

    def create(self, topic, partitions, flush=False):
        """CreateTopics v2. `flush`: log.flush.interval.messages=1, for this topic."""
        configs = struct.pack(">i", 1) + string("flush.messages") + string("1") if flush else struct.pack(">i", 0)
        r = self.call(19, 2, struct.pack(">i", 1) + string(topic) + struct.pack(">ihi", partitions, 1, 0) + configs +
                      struct.pack(">ib", 10000, 0))
        code = struct.unpack_from(">h", r, 4 + 4 + 2 + len(topic))[0]
        if code not in (0, 36):
            raise RuntimeError(f"CreateTopics: {code}")
        time.sleep(0.3)

    def delete(self, topic):
        self.call(20, 1, struct.pack(">i", 1) + string(topic) + struct.pack(">i", 10000))

    def stop(self):
        self.p.terminate()
        try:
            self.p.wait(15)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        self.log.close()
