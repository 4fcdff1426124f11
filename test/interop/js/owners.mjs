// Owner levels, the limit of readers, and event processors that share work.
import { EventHubProducerClient, EventHubConsumerClient, earliestEventPosition, latestEventPosition }
  from '@azure/event-hubs';
import { test, finish, assert, cs, once, sleep } from './lib.mjs';

const hub = 'js-owners';
const clients = [];

function open(partition, ownerLevel, group = '$Default') {
  const client = new EventHubConsumerClient(group, cs, hub, once);
  clients.push(client);
  const r = { events: 0, errors: [] };
  r.sub = client.subscribe(partition, {
    processEvents: async (e) => { r.events += e.length; r.alive = true; },
    processError: async (e) => { r.errors.push(e); },
  }, { startPosition: latestEventPosition, ownerLevel, maxWaitTimeInSeconds: 1 });
  return r;
}

async function until(what, fn, ms = 15000) {
  for (let t = 0; t < ms; t += 100) {
    if (fn()) return;
    await sleep(100);
  }
  throw new Error(`waited ${ms} ms for: ${what}`);
}
const lost = (r) => r.errors.some((e) => e.code === 'ReceiverDisconnectedError');

await test('a higher owner level takes the partition', async () => {
  const low = open('0', 1);
  await until('first reader', () => low.alive);
  const high = open('0', 2);
  await until('the first is told', () => lost(low));
  await until('the second reads', () => high.alive);
  assert.equal(high.errors.length, 0);
  await low.sub.close();
  await high.sub.close();
});

await test('an equal owner level takes it too', async () => {
  const a = open('0', 5);
  await until('first reader', () => a.alive);
  const b = open('0', 5);
  await until('the first is told', () => lost(a));
  assert.ok(/epoch '5'/.test(a.errors.find((e) => e.code === 'ReceiverDisconnectedError').message));
  await a.sub.close();
  await b.sub.close();
});

await test('a lower owner level is refused', async () => {
  const a = open('1', 9);
  await until('first reader', () => a.alive);
  const b = open('1', 3);
  await until('the second is refused', () => lost(b));
  assert.equal(a.errors.length, 0);
  await a.sub.close();
  await b.sub.close();
});

await test('a reader without owner level is refused while an owner lives', async () => {
  const a = open('1', 1);
  await until('owner', () => a.alive);
  const b = open('1', undefined);
  await until('refused', () => lost(b));
  await a.sub.close();
  await b.sub.close();
});

await test('an owner displaces readers without owner level', async () => {
  const a = open('1', undefined);
  await until('reader', () => a.alive);
  const b = open('1', 0 + 1);
  await until('displaced', () => lost(a));
  await a.sub.close();
  await b.sub.close();
});

await test('five readers of a partition in a group, the sixth is refused', async () => {
  const five = Array.from({ length: 5 }, () => open('2', undefined));
  await until('five readers', () => five.every((r) => r.alive));
  const sixth = open('2', undefined);
  await until('refused', () => sixth.errors.length > 0);
  assert.equal(sixth.errors[0].code, 'QuotaExceededError', sixth.errors[0].message);
  const other = open('2', undefined, 'audit');
  await until('another group may read', () => other.alive);
  assert.ok(five.every((r) => r.errors.length === 0));
  for (const r of [...five, sixth, other]) await r.sub.close();
});

// A checkpoint store in memory with the semantics of the blob store: claims are
// compare-and-set on an etag.
function sharedStore() {
  const owners = new Map();
  const points = new Map();
  let tag = 0;
  const key = (o) => `${o.consumerGroup}/${o.partitionId}`;
  return {
    points,
    listOwnership: async () => [...owners.values()].map((o) => ({ ...o })),
    claimOwnership: async (wanted) => {
      const won = [];
      for (const o of wanted) {
        const have = owners.get(key(o));
        if (have && have.etag !== o.etag) continue;
        const next = { ...o, etag: String(++tag), lastModifiedTimeInMs: Date.now() };
        owners.set(key(o), next);
        won.push({ ...next });
      }
      return won;
    },
    updateCheckpoint: async (c) => { points.set(c.partitionId, c); },
    listCheckpoints: async () => [...points.values()],
  };
}

await test('two event processors share the partitions and take over from each other', async () => {
  const store = sharedStore();
  const seen = new Map();
  const options = { ...once, loadBalancingOptions: { strategy: 'greedy', updateIntervalInMs: 500, partitionOwnershipExpirationIntervalInMs: 4000 } };
  const start = (name) => {
    const client = new EventHubConsumerClient('$Default', cs, 'js-shared', store, options);
    clients.push(client);
    const p = { name, client, owned: new Set() };
    p.sub = client.subscribe({
      processInitialize: async (c) => { p.owned.add(c.partitionId); },
      processClose: async (_, c) => { p.owned.delete(c.partitionId); },
      processEvents: async (events, c) => {
        for (const e of events) seen.set(e.body, (seen.get(e.body) ?? 0) + 1);
        if (events.length) await c.updateCheckpoint(events[events.length - 1]);
      },
      processError: async () => {},
    }, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1, maxBatchSize: 20 });
    return p;
  };
  const producer = new EventHubProducerClient(cs, 'js-shared', once);
  clients.push(producer);
  let sent = 0;
  const send = async (n) => {
    for (let i = 0; i < n; i++, sent++) await producer.sendBatch([{ body: `e${sent}` }], { partitionId: String(sent % 4) });
  };
  const a = start('a');
  await until('a owns all', () => a.owned.size === 4, 20000);
  await send(40);
  const b = start('b');
  await until('balanced', () => a.owned.size === 2 && b.owned.size === 2, 30000);
  await send(40);
  await until('all seen', () => seen.size === sent, 20000);
  await a.sub.close();
  await until('b takes over', () => b.owned.size === 4, 30000);
  await send(40);
  await until('all seen', () => seen.size === sent, 20000);
  await b.sub.close();
  assert.equal(store.points.size, 4);
}, 120000);

await Promise.all(clients.map((c) => c.close().catch(() => {})));
finish();
