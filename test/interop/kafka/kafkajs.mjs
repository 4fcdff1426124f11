// kafkajs against a server: `main` runs every scenario, `resume` what must still
// hold after the server was killed and started again. The environment says where
// the server is; see ../kafka.sh.
import { readFileSync } from 'node:fs';
import kafkajs from 'kafkajs';
import { assert, finish, sleep, test as plainTest } from './lib.mjs';

const { Kafka, logLevel, CompressionTypes } = kafkajs;
const env = process.env;
const name = env.KAFKA_NAME ?? 'kafkajs';
const hub = (what) => `${env.KAFKA_PREFIX ?? ''}${name}-${what}`;
const [data, shared, once] = ['data', 'group', 'once'].map(hub);
const test = (what, fn) => plainTest(`${name}: ${what}`, fn);

function kafka(username = env.KAFKA_USER, password = env.KAFKA_PASSWORD) {
  return new Kafka({
    clientId: 'kafkajs-interop',
    brokers: [env.KAFKA_TLS || env.KAFKA_PLAIN],
    ssl: env.KAFKA_TLS ? { ca: [readFileSync(env.KAFKA_CA, 'utf8')] } : false,
    sasl: { mechanism: 'plain', username, password },
    logLevel: logLevel.NOTHING,
    retry: { retries: 1, initialRetryTime: 50 },
  });
}

async function using(thing, fn) {
  await thing.connect();
  try {
    return await fn(thing);
  } finally {
    await thing.disconnect();
  }
}
const producing = (fn, options = {}, k = kafka()) => using(k.producer({ allowAutoTopicCreation: false, ...options }), fn);
const administering = (fn, k = kafka()) => using(k.admin(), fn);

async function end(topic, partition) {
  return administering(async (a) => Number((await a.fetchTopicOffsets(topic)).find((p) => p.partition === partition).high));
}

// kafkajs reads in groups only: a fresh one, moved to where reading begins.
let fresh = 0;
async function readFrom(topic, partition, offset, n, k = kafka()) {
  const got = [];
  const c = k.consumer({ groupId: `${once}-fresh-${process.pid}-${fresh++}`, maxWaitTimeInMs: 300, heartbeatInterval: 1000, retry: { retries: 0 } });
  await c.connect();
  try {
    await c.subscribe({ topic, fromBeginning: true });
    await new Promise((done, fail) => {
      c.on(c.events.CRASH, (e) => fail(e.payload.error));
      c.run({
        autoCommit: false,
        eachMessage: async ({ partition: p, message }) => {
          if (p === partition && Number(message.offset) >= offset && got.push(message) >= n) done();
        },
      }).catch(fail);
      c.seek({ topic, partition, offset: String(offset) });
    });
  } finally {
    await c.disconnect();
  }
  return got;
}

async function fails(promise, pattern) {
  try {
    await promise;
  } catch (e) {
    const text = `${e.type ?? ''} ${e.name} ${e.message} ${e.cause?.type ?? ''}`;
    assert.match(text, pattern);
    return;
  }
  assert.fail('succeeded, but must fail');
}

async function lists(k) {
  await administering(async (a) => {
    assert.ok((await a.listTopics()).includes(data));
    const { topics } = await a.fetchTopicMetadata({ topics: [data] });
    assert.equal(topics[0].partitions.length, 4);
    const cluster = await a.describeCluster();
    assert.equal(cluster.brokers.length, 1);
    assert.equal(cluster.controller, cluster.brokers[0].nodeId);
  }, k);
}

async function codec(compression, options = {}) {
  const start = await end(data, 0);
  const when = Date.now() - 60000;
  const messages = Array.from({ length: 50 }, (_, i) => ({
    partition: 0, key: `key${i}`, value: `${compression} ${i} ${'squeeze me '.repeat(20)}`,
    timestamp: String(when + i), headers: { n: String(i), bin: Buffer.from([0, 255]) },
  }));
  await producing((p) => p.send({ topic: data, messages, compression }), options);
  const got = await readFrom(data, 0, start, 50);
  got.slice(0, 50).forEach((m, i) => {
    assert.equal(m.key.toString(), messages[i].key);
    assert.equal(m.value.toString(), messages[i].value);
    assert.equal(m.timestamp, messages[i].timestamp);
    assert.equal(Number(m.offset), start + i);
    assert.equal(m.headers.n.toString(), String(i));
    assert.deepEqual(m.headers.bin, Buffer.from([0, 255]));
  });
}

async function group() {
  const seen = new Set();
  const parts = [new Set(), new Set()];
  const assigned = [[], []];
  const member = (m) => {
    const c = kafka().consumer({ groupId: `${shared}-readers`, heartbeatInterval: 300, sessionTimeout: 6000, maxWaitTimeInMs: 300, rebalanceTimeout: 10000 });
    c.on(c.events.GROUP_JOIN, (e) => { assigned[m] = e.payload.memberAssignment[shared] ?? []; });
    return c;
  };
  const members = [member(0), member(1)];
  const start = async (m) => {
    await members[m].connect();
    await members[m].subscribe({ topic: shared, fromBeginning: true });
    await members[m].run({ eachMessage: async ({ partition, message }) => { seen.add(message.value.toString()); parts[m].add(partition); } });
  };
  const produce = (from) => producing((p) => p.send({
    topic: shared,
    messages: Array.from({ length: 200 }, (_, i) => ({ partition: i % 4, value: String(from + i) })),
  }));
  const until = async (what, holds) => {
    for (let i = 0; !holds(); i++) {
      assert.ok(i < 300, `${what}: ${seen.size} seen, assigned ${JSON.stringify(assigned)}`);
      await sleep(100);
    }
  };
  try {
    await Promise.all([start(0), start(1)]);
    await until('both have joined', () => assigned[0].length === 2 && assigned[1].length === 2);
    await produce(0);
    await until('all is read', () => seen.size === 200 && parts[0].size === 2 && parts[1].size === 2);
    await members[0].disconnect();
    await until('one has all', () => assigned[1].length === 4);
    await produce(1000);
    await until('all is read by one', () => seen.size === 400);
  } finally {
    await Promise.all(members.map((m) => m.disconnect()));
  }
}

// Reads the group's next event, which must have this value, and commits it.
async function next(want) {
  const c = kafka().consumer({ groupId: `${once}-reader`, maxWaitTimeInMs: 300 });
  await c.connect();
  try {
    await c.subscribe({ topic: once, fromBeginning: true });
    const first = await new Promise((done, fail) => {
      c.on(c.events.CRASH, (e) => fail(e.payload.error));
      c.run({ autoCommit: false, eachMessage: async ({ message }) => done(message) }).catch(fail);
    });
    assert.equal(first.value.toString(), String(want));
    await c.commitOffsets([{ topic: once, partition: 0, offset: String(want + 1), metadata: `note ${want}` }]);
  } finally {
    await c.disconnect();
  }
}

async function everything() {
  await test('connects and lists', () => lists(kafka()));
  await test("connects with a policy's name and key", () => lists(kafka(env.KAFKA_POLICY, env.KAFKA_KEY)));
  await test('uncompressed, keys, headers, timestamps', () => codec(CompressionTypes.None));
  await test('gzip, keys, headers, timestamps', () => codec(CompressionTypes.GZIP));
  await test('idempotent producer', () => codec(CompressionTypes.GZIP, { idempotent: true, maxInFlightRequests: 1 }));
  await test('acks 0, 1, all', async () => {
    for (const acks of [0, 1, -1]) {
      const start = await end(data, 1);
      await producing((p) => p.send({ topic: data, acks, messages: [{ partition: 1, value: `acks ${acks}` }] }));
      assert.equal((await readFrom(data, 1, start, 1))[0].value.toString(), `acks ${acks}`);
    }
  });
  await test('null values', async () => {
    const start = await end(data, 1);
    await producing((p) => p.send({ topic: data, messages: [{ partition: 1, key: 'k', value: null }, { partition: 1, value: '' }] }));
    const got = await readFrom(data, 1, start, 2);
    assert.deepEqual([got[0].value, got[1].key, got[1].value.length], [null, null, 0]);
  });
  await test('a time', async () => {
    const start = await end(data, 3);
    const t = Date.now() - 100000;
    await producing((p) => p.send({ topic: data, messages: [0, 1, 2].map((i) => ({ partition: 3, value: `at ${i}`, timestamp: String(t + 1000 * i) })) }));
    const at = await administering((a) => a.fetchTopicOffsetsByTimestamp(data, t + 500));
    assert.equal(Number(at.find((p) => p.partition === 3).offset), start + 1);
  });
  await test('two members share, one leaves', group);
  await test('committed offsets are there after a restart', async () => {
    await producing((p) => p.send({ topic: once, messages: Array.from({ length: 10 }, (_, i) => ({ partition: 0, value: String(i) })) }));
    for (let i = 0; i < 3; i++) await next(i);
  });
  await test('groups and their offsets are shown and deleted', () => administering(async (a) => {
    assert.ok((await a.listGroups()).groups.some((g) => g.groupId === `${once}-reader`));
    const { groups } = await a.describeGroups([`${once}-reader`]);
    assert.equal(groups[0].state, 'Empty');
    const [at] = await a.fetchOffsets({ groupId: `${once}-reader`, topics: [once] });
    assert.deepEqual([at.partitions[0].offset, at.partitions[0].metadata], ['3', 'note 2']);
    await a.setOffsets({ groupId: `${once}-outside`, topic: once, partitions: [{ partition: 0, offset: '5' }] });
    await a.deleteGroups([`${once}-outside`]);
  }));
  await test('topics are made, grown, described, deleted', () => administering(async (a) => {
    assert.equal(await a.createTopics({ topics: [{ topic: hub('made'), numPartitions: 2 }] }), true);
    await a.createPartitions({ topicPartitions: [{ topic: hub('made'), count: 5 }] });
    const { resources } = await a.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: hub('made') }] });
    assert.ok(resources[0].configEntries.some((c) => c.configName === 'retention.ms'));
    await a.deleteTopics({ topics: [hub('made')] });
  }));
  await test('wrong password', () => fails(lists(kafka(env.KAFKA_USER, 'wrong')), /SASLAuthentication/));
  await test('unknown topic', () => fails(
    producing((p) => p.send({ topic: 'no-such-hub', messages: [{ value: 'x' }] })), /UNKNOWN_TOPIC_OR_PARTITION/));
  const sender = () => kafka(env.KAFKA_SEND_USER, env.KAFKA_SEND_PASSWORD);
  await test('Send only', async () => {
    await producing((p) => p.send({ topic: data, messages: [{ partition: 1, value: 'by a sender' }] }), {}, sender());
    await fails(readFrom(data, 1, 0, 1, sender()), /GROUP_AUTHORIZATION_FAILED|GroupCoordinatorNotFound/);
  });
  const listener = () => kafka(env.KAFKA_LISTEN_USER, env.KAFKA_LISTEN_PASSWORD);
  await test('Listen only', async () => {
    await readFrom(data, 0, 0, 1, listener());
    await fails(producing((p) => p.send({ topic: data, messages: [{ partition: 1, value: 'by a listener' }] }), {}, listener()), /TOPIC_AUTHORIZATION_FAILED/);
  });
}

if (process.argv[2] === 'resume') {
  await test('committed offsets are there after the server was killed', () => next(3));
  await test('produces after the server was killed', () => codec(CompressionTypes.GZIP));
} else {
  await everything();
}
finish();
