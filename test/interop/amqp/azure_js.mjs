// The official JavaScript SDK (@azure/event-hubs) against a gateway.
//
// Takes SLUICE_CS, SLUICE_HUB (at least two partitions) and SLUICE_CA from the
// environment; NODE_EXTRA_CA_CERTS must name the same file before node starts,
// which this script sees to by starting itself again. Prints "ok NAME" or
// "not ok NAME reason" lines; exits 1 when one failed.
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";

if (process.env.NODE_EXTRA_CA_CERTS !== process.env.SLUICE_CA) {
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: process.env.SLUICE_CA };
  const r = spawnSync(process.execPath, process.argv.slice(1), { env, stdio: "inherit" });
  process.exit(r.status ?? 1);
}

// Resolved from the directory with node_modules, which is the working directory.
const { createRequire } = await import("node:module");
const require = createRequire(process.cwd() + "/");
const { EventHubProducerClient, EventHubConsumerClient } = require("@azure/event-hubs");

const CS = process.env.SLUICE_CS;
const HUB = process.env.SLUICE_HUB;
const retryOptions = { maxRetries: 0, timeoutInMs: 20000 };
const tests = {};

const assert = (what, text) => {
  if (!what) throw new Error(text ?? "assertion failed");
};
const producer = (cs = CS, hub = HUB) => new EventHubProducerClient(cs, hub, { retryOptions });
const consumer = () => new EventHubConsumerClient("$Default", CS, HUB, { retryOptions });

async function withProducer(fn, ...args) {
  const p = producer(...args);
  try {
    return await fn(p);
  } finally {
    await p.close();
  }
}

async function lastPartition(p) {
  const ids = await p.getPartitionIds();
  return ids[ids.length - 1];
}

// Receives `count` events of a partition from a position on.
function receive(client, partition, position, count, options = {}) {
  return new Promise((resolve, reject) => {
    const got = [];
    const timer = setTimeout(() => done(new Error(`${got.length} of ${count} events in time`)), 15000);
    const sub = client.subscribe(partition, {
      processEvents: async (events, context) => {
        got.push(...events);
        got.context = context;
        if (got.length >= count) done();
      },
      processError: async (e) => done(e),
    }, { startPosition: position, maxBatchSize: 50, ...options });
    let over = false;
    function done(error) {
      if (over) return;
      over = true;
      clearTimeout(timer);
      sub.close().then(() => (error ? reject(error) : resolve(got)), reject);
    }
  });
}

async function sendAndReceive(events) {
  return withProducer(async (p) => {
    const pid = await lastPartition(p);
    const start = (await p.getPartitionProperties(pid)).lastEnqueuedSequenceNumber;
    const batch = await p.createBatch({ partitionId: pid });
    for (const e of events) assert(batch.tryAdd(e), "batch is full");
    await p.sendBatch(batch);
    const c = consumer();
    try {
      const got = await receive(c, pid, { sequenceNumber: start }, events.length);
      return { start, got };
    } finally {
      await c.close();
    }
  });
}

tests.hub_properties = () => withProducer(async (p) => {
  const props = await p.getEventHubProperties();
  assert(props.name === HUB && props.partitionIds.length >= 2, JSON.stringify(props));
  assert(props.createdOn instanceof Date && !Number.isNaN(props.createdOn.getTime()), "no date");
});

tests.partition_properties = () => withProducer(async (p) => {
  const pid = await lastPartition(p);
  await p.sendBatch([{ body: "x" }], { partitionId: pid });
  const props = await p.getPartitionProperties(pid);
  assert(props.partitionId === pid && props.isEmpty === false, JSON.stringify(props));
  assert(typeof props.lastEnqueuedOffset === "string", typeof props.lastEnqueuedOffset);
  assert(Math.abs(Date.now() - props.lastEnqueuedOnUtc.getTime()) < 60000, "wrong time");
});

tests.events_arrive_in_order = async () => {
  const { start, got } = await sendAndReceive([...Array(200).keys()].map((i) => ({ body: `event ${i}` })));
  got.forEach((e, i) => {
    assert(e.body === `event ${i}`, `${i}: ${e.body}`);
    assert(e.sequenceNumber === start + 1 + i, `${i}: ${e.sequenceNumber}`);
    assert(e.offset === String(e.sequenceNumber), e.offset);
  });
};

tests.properties_survive = async () => {
  const { got } = await sendAndReceive([{
    body: { a: [1, 2, "three"] },
    properties: { s: "text", i: 7, neg: -5, f: 1.5, b: true },
    messageId: "m-1", correlationId: "c-1", contentType: "application/x-test",
  }]);
  const e = got[0];
  assert(JSON.stringify(e.body) === '{"a":[1,2,"three"]}', JSON.stringify(e.body));
  assert(JSON.stringify(e.properties) === '{"s":"text","i":7,"neg":-5,"f":1.5,"b":true}', JSON.stringify(e.properties));
  assert(e.messageId === "m-1" && e.correlationId === "c-1" && e.contentType === "application/x-test", "ids");
};

tests.body_kinds_survive = async () => {
  const { got } = await sendAndReceive([
    { body: Buffer.from([0, 255, 1]) }, { body: undefined }, { body: null }, { body: "" },
    { body: [[1, 2]], bodyType: "sequence" }, { body: "value", bodyType: "value" },
  ]);
  assert(Buffer.isBuffer(got[0].body) && got[0].body.length === 3, "binary");
  assert(got[4].getRawAmqpMessage().bodyType === "sequence", got[4].getRawAmqpMessage().bodyType);
  assert(got[5].getRawAmqpMessage().bodyType === "value" && got[5].body === "value", "value");
};

tests.partition_key_is_kept = () => withProducer(async (p) => {
  const key = randomUUID();
  const ids = await p.getPartitionIds();
  const before = await Promise.all(ids.map((i) => p.getPartitionProperties(i)));
  await p.sendBatch([{ body: 1 }, { body: 2 }], { partitionKey: key });
  await p.sendBatch([{ body: 3 }], { partitionKey: key });
  const after = await Promise.all(ids.map((i) => p.getPartitionProperties(i)));
  const grown = ids.filter((_, i) => after[i].lastEnqueuedSequenceNumber > before[i].lastEnqueuedSequenceNumber);
  assert(grown.length === 1, `partitions ${grown}`);
  const from = before[ids.indexOf(grown[0])].lastEnqueuedSequenceNumber;
  const c = consumer();
  const got = await receive(c, grown[0], { sequenceNumber: from }, 3);
  await c.close();
  assert(got.every((e) => e.partitionKey === key), JSON.stringify(got.map((e) => e.partitionKey)));
});

tests.large_batch = () => withProducer(async (p) => {
  const pid = await lastPartition(p);
  const start = (await p.getPartitionProperties(pid)).lastEnqueuedSequenceNumber;
  const batch = await p.createBatch({ partitionId: pid });
  const body = Buffer.alloc(1000, 7);
  while (batch.tryAdd({ body }));
  assert(batch.count > 800, `only ${batch.count}`);
  await p.sendBatch(batch);
  const c = consumer();
  const got = await receive(c, pid, { sequenceNumber: start }, batch.count);
  await c.close();
  assert(got.every((e) => e.body.equals(body)), "bodies");
});

tests.too_large_is_refused_and_the_link_goes_on = () => withProducer(async (p) => {
  let error;
  try {
    await p.sendBatch([{ body: Buffer.alloc(3 << 20) }]);
  } catch (e) {
    error = e;
  }
  assert(error?.code === "MessageTooLargeError", String(error));
  await p.sendBatch([{ body: "small" }]);
});

tests.positions = async () => {
  const { got } = await sendAndReceive([1, 2, 3, 4, 5].map((i) => ({ body: `p${i}` })));
  const third = got[2];
  const pid = await withProducer(lastPartition);
  const c = consumer();
  const first = async (position) => (await receive(c, pid, position, 1))[0].sequenceNumber;
  assert(await first({ sequenceNumber: third.sequenceNumber }) === third.sequenceNumber + 1, "sequence");
  assert(await first({ sequenceNumber: third.sequenceNumber, isInclusive: true }) === third.sequenceNumber, "inclusive");
  assert(await first({ offset: third.offset }) === third.sequenceNumber + 1, "offset");
  assert(await first({ enqueuedOn: new Date(third.enqueuedTimeUtc.getTime() - 1) }) <= got[0].sequenceNumber, "time");
  await c.close();
};

tests.runtime_metric = async () => {
  const { got } = await sendAndReceive([{ body: "m" }]);
  const pid = await withProducer(lastPartition);
  const c = consumer();
  const r = await receive(c, pid, { sequenceNumber: got[0].sequenceNumber, isInclusive: true }, 1,
    { trackLastEnqueuedEventProperties: true });
  const props = r.context.lastEnqueuedEventProperties;
  await c.close();
  assert(props.sequenceNumber >= got[0].sequenceNumber, JSON.stringify(props));
  assert(!Number.isNaN(props.enqueuedOn.getTime()), JSON.stringify(props));
};

tests.all_partitions = () => withProducer(async (p) => {
  const tag = randomUUID();
  const ids = await p.getPartitionIds();
  const c = consumer();
  const seen = new Set();
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${seen.size} of ${ids.length}`)), 20000);
    const sub = c.subscribe({
      processEvents: async (events, ctx) => {
        for (const e of events) if (e.body === tag) seen.add(ctx.partitionId);
        if (seen.size === ids.length) { clearTimeout(timer); sub.close().then(resolve, reject); }
      },
      processError: async (e) => reject(e),
    }, { startPosition: { enqueuedOn: new Date(Date.now() - 1000) } });
    (async () => { for (const partitionId of ids) await p.sendBatch([{ body: tag }], { partitionId }); })().catch(reject);
  });
  await c.close();
});

tests.unknown_hub_is_not_found = async () => {
  let error;
  await withProducer((p) => p.sendBatch([{ body: 1 }]), CS, "nosuchhub").catch((e) => { error = e; });
  assert(error?.code === "MessagingEntityNotFoundError" || /could not be found/.test(String(error)), String(error));
};

tests.wrong_key_is_refused = async () => {
  let error;
  await withProducer((p) => p.getPartitionIds(), CS.replace(/SharedAccessKey=[^;]*/, "SharedAccessKey=wrong"))
    .catch((e) => { error = e; });
  assert(error?.code === "UnauthorizedError", `${error?.code} ${error}`);
};

let failed = 0;
for (const [name, fn] of Object.entries(tests)) {
  if (process.env.SLUICE_ONLY && !name.includes(process.env.SLUICE_ONLY)) continue;
  try {
    await fn();
    console.log("ok", name);
  } catch (e) {
    failed++;
    console.log("not ok", name, String(e?.message ?? e).replaceAll("\n", " ").slice(0, 400));
    if (process.env.SLUICE_TRACE) console.log(e);
  }
}
process.exit(failed ? 1 : 0);
