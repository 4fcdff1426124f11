// The unmodified @azure/event-hubs SDK: properties, sending, reading, errors.
import { EventHubProducerClient, EventHubConsumerClient, earliestEventPosition, latestEventPosition }
  from '@azure/event-hubs';
import { test, finish, assert, cs, plainCs, sendOnlyCs, once, failure, read, sleep } from './lib.mjs';

const hub = 'js-sdk';
const group = '$Default';
const producer = new EventHubProducerClient(cs, hub, once);
const consumer = new EventHubConsumerClient(group, cs, hub, once);

await test('hub properties', async () => {
  const p = await producer.getEventHubProperties();
  assert.equal(p.name, hub);
  assert.deepEqual(p.partitionIds, ['0', '1', '2', '3']);
  assert.ok(Math.abs(Date.now() - p.createdOn.getTime()) < 3600e3);
});

await test('partition properties of an empty partition', async () => {
  const p = await producer.getPartitionProperties('3');
  assert.equal(p.partitionId, '3');
  assert.equal(p.isEmpty, true);
  assert.equal(p.lastEnqueuedSequenceNumber, -1);
  assert.equal(p.lastEnqueuedOffset, '-1');
});

let sentAt;
await test('send to a fixed partition, read from earliest', async () => {
  sentAt = new Date();
  for (let b = 0; b < 3; b++) {
    const batch = await producer.createBatch({ partitionId: '0' });
    for (let i = 0; i < 10; i++) {
      assert.ok(batch.tryAdd({ body: { n: b * 10 + i }, properties: { s: 'x', i: 7, f: 1.5, t: true } }));
    }
    await producer.sendBatch(batch);
    await sleep(5);
  }
  const events = await read(consumer, '0', earliestEventPosition, 30);
  assert.equal(events.length, 30);
  events.forEach((e, i) => {
    assert.equal(e.body.n, i);
    assert.equal(e.sequenceNumber, i);
    assert.equal(typeof e.offset, 'string');
    assert.deepEqual(e.properties, { s: 'x', i: 7, f: 1.5, t: true });
    assert.ok(Math.abs(e.enqueuedTimeUtc.getTime() - sentAt.getTime()) < 60e3);
  });
});

await test('read from a sequence number, inclusive and not', async () => {
  let e = await read(consumer, '0', { sequenceNumber: 12, isInclusive: true }, 18);
  assert.equal(e[0].sequenceNumber, 12);
  e = await read(consumer, '0', { sequenceNumber: 12 }, 17);
  assert.equal(e[0].sequenceNumber, 13);
});

await test('read from an offset', async () => {
  const all = await read(consumer, '0', earliestEventPosition, 30);
  const e = await read(consumer, '0', { offset: all[19].offset }, 10);
  assert.equal(e[0].sequenceNumber, 20);
});

await test('read from a time', async () => {
  const all = await read(consumer, '0', earliestEventPosition, 30);
  const at = all[15].enqueuedTimeUtc.getTime();
  const first = all.find((x) => x.enqueuedTimeUtc.getTime() > at - 1);
  const e = await read(consumer, '0', { enqueuedOn: at - 1 }, 30 - first.sequenceNumber);
  assert.equal(e[0].sequenceNumber, first.sequenceNumber);
});

await test('read from latest gives only what comes later', async () => {
  const reading = read(consumer, '1', latestEventPosition, 1);
  await sleep(1500);
  await producer.sendBatch([{ body: 'later' }], { partitionId: '1' });
  const e = await reading;
  assert.equal(e[0].body, 'later');
});

await test('partition key goes where the service would put it', async () => {
  // From the service's own hash: "hello" of 4 partitions is 2839 % 4 = 3.
  await producer.sendBatch([{ body: 'keyed' }], { partitionKey: 'hello' });
  const e = await read(consumer, '3', earliestEventPosition, 1);
  assert.equal(e[0].body, 'keyed');
  assert.equal(e[0].partitionKey, 'hello');
});

await test('single events are spread over partitions', async () => {
  const before = await Promise.all(['0', '1', '2', '3'].map((p) => producer.getPartitionProperties(p)));
  for (let i = 0; i < 12; i++) await producer.sendBatch([{ body: i }]);
  const after = await Promise.all(['0', '1', '2', '3'].map((p) => producer.getPartitionProperties(p)));
  const grown = after.map((a, i) => a.lastEnqueuedSequenceNumber - before[i].lastEnqueuedSequenceNumber);
  assert.equal(grown.reduce((a, b) => a + b), 12);
  assert.ok(grown.every((g) => g >= 2), `spread: ${grown}`);
});

await test('bodies and properties of every kind come back', async () => {
  const bodies = [Buffer.from([0, 1, 255]), 'text', 12, { a: [1, { b: null }] }, [1, 2], true, null, 'x'.repeat(70000)];
  const start = (await producer.getPartitionProperties('2')).lastEnqueuedSequenceNumber;
  const when = new Date(1700000000000);
  await producer.sendBatch(bodies.map((body) => ({
    body, messageId: 'm1', correlationId: 'c1', contentType: 'application/x',
    properties: { when, neg: -5, big: 2 ** 40, none: null, u: 'ü' },
  })), { partitionId: '2' });
  const got = await read(consumer, '2', { sequenceNumber: start }, bodies.length);
  got.forEach((e, i) => {
    if (Buffer.isBuffer(bodies[i])) assert.deepEqual(Buffer.from(e.body), bodies[i]);
    else assert.deepEqual(e.body, bodies[i]);
    assert.equal(e.messageId, 'm1');
    assert.equal(e.correlationId, 'c1');
    assert.equal(e.contentType, 'application/x');
    assert.equal(e.properties.neg, -5);
    assert.equal(e.properties.big, 2 ** 40);
    assert.equal(e.properties.u, 'ü');
    assert.equal(Number(e.properties.when), when.getTime());
  });
});

await test('AMQP value and sequence bodies keep their kind', async () => {
  const start = (await producer.getPartitionProperties('2')).lastEnqueuedSequenceNumber;
  await producer.sendBatch([
    { body: 'v', bodyType: 'value' },
    { body: [1, 'two'], bodyType: 'sequence' },
  ], { partitionId: '2' });
  const got = await read(consumer, '2', { sequenceNumber: start }, 2);
  assert.equal(got[0].getRawAmqpMessage().bodyType, 'value');
  assert.equal(got[0].body, 'v');
  assert.equal(got[1].getRawAmqpMessage().bodyType, 'sequence');
});

await test('a full batch of nearly 1 MiB', async () => {
  const batch = await producer.createBatch({ partitionId: '1' });
  let n = 0;
  while (batch.tryAdd({ body: Buffer.alloc(50000, n) })) n++;
  assert.ok(n >= 19 && batch.maxSizeInBytes === 1048576, `${n} events, ${batch.maxSizeInBytes}`);
  const start = (await producer.getPartitionProperties('1')).lastEnqueuedSequenceNumber;
  await producer.sendBatch(batch);
  const got = await read(consumer, '1', { sequenceNumber: start }, n);
  assert.equal(got[n - 1].body.length, 50000);
});

await test('last enqueued event properties', async () => {
  let seen;
  const sub = consumer.subscribe('0', {
    processEvents: async (events, context) => { if (events.length) seen = context.lastEnqueuedEventProperties; },
    processError: async () => {},
  }, { startPosition: earliestEventPosition, trackLastEnqueuedEventProperties: true, maxWaitTimeInSeconds: 1 });
  for (let i = 0; i < 100 && !seen; i++) await sleep(100);
  await sub.close();
  assert.ok(seen.sequenceNumber >= 29);
  assert.ok(seen.retrievedOn instanceof Date && !Number.isNaN(seen.retrievedOn.getTime()));
});

await test('buffered sending of many single batches, all there once', async () => {
  const many = new EventHubProducerClient(cs, 'js-many', once);
  const sends = [];
  for (let i = 0; i < 300; i++) sends.push(many.sendBatch([{ body: i }], { partitionId: String(i % 2) }));
  await Promise.all(sends);
  const reader = new EventHubConsumerClient(group, cs, 'js-many', once);
  const got = [...await read(reader, '0', earliestEventPosition, 150), ...await read(reader, '1', earliestEventPosition, 150)];
  assert.deepEqual(got.map((e) => e.body).sort((a, b) => a - b), Array.from({ length: 300 }, (_, i) => i));
  await many.close();
  await reader.close();
});

await test('plain AMQP in emulator mode', async () => {
  const p = new EventHubProducerClient(plainCs, hub, once);
  const props = await p.getEventHubProperties();
  assert.equal(props.partitionIds.length, 4);
  await p.sendBatch([{ body: 'plain' }], { partitionId: '3' });
  await p.close();
});

await test('wrong key', async () => {
  const p = new EventHubProducerClient(cs.replace(/SharedAccessKey=[^;]*/, 'SharedAccessKey=bm90IHRoZSBrZXk='), hub, once);
  const e = await failure(p.sendBatch([{ body: 1 }]));
  assert.equal(e.code, 'UnauthorizedError', e.message);
  await p.close();
});

await test('unknown hub', async () => {
  const p = new EventHubProducerClient(cs, 'nowhere', once);
  const e = await failure(p.sendBatch([{ body: 1 }]));
  assert.equal(e.code, 'MessagingEntityNotFoundError', e.message);
  await p.close();
});

await test('unknown partition', async () => {
  const e = await failure(producer.sendBatch([{ body: 1 }], { partitionId: '99' }));
  assert.ok(/ArgumentOutOfRange|NotFound|InvalidOperation/.test(e.code), `${e.code} ${e.message}`);
});

await test('unknown consumer group', async () => {
  const c = new EventHubConsumerClient('nobody', cs, hub, once);
  const e = await failure(read(c, '0', earliestEventPosition, 1));
  assert.equal(e.code, 'MessagingEntityNotFoundError', e.message);
  await c.close();
});

await test('a Send-only key cannot receive', async () => {
  const p = new EventHubProducerClient(sendOnlyCs, hub, once);
  await p.sendBatch([{ body: 'allowed' }], { partitionId: '3' });
  await p.close();
  const c = new EventHubConsumerClient(group, sendOnlyCs, hub, once);
  const e = await failure(read(c, '0', earliestEventPosition, 1));
  assert.equal(e.code, 'UnauthorizedError', e.message);
  await c.close();
});

await test('an offset beyond the end is refused with the last one named', async () => {
  const e = await failure(read(consumer, '0', { sequenceNumber: 999999 }, 1));
  assert.equal(e.code, 'ArgumentError', `${e.code} ${e.message}`);
});

await test('a consumer group of its own', async () => {
  const c = new EventHubConsumerClient('audit', cs, hub, once);
  const e = await read(c, '0', earliestEventPosition, 5);
  assert.ok(e.length >= 5);
  await c.close();
});

await producer.close();
await consumer.close();
finish();
