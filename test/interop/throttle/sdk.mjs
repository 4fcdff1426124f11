// The unmodified JavaScript SDK with its default settings, one unit: ten times the unit
// at once reaches the hub without an error, and a reader gets it at twice the unit.
import { EventHubProducerClient, EventHubConsumerClient, earliestEventPosition } from '@azure/event-hubs';
import { test, finish, assert, cs } from './lib.mjs';

const hub = 'js';
const events = 10000;

await test('js: ten units at once arrive without an error', async () => {
  const producer = new EventHubProducerClient(cs, hub);
  const began = Date.now();
  await Promise.all(['0', '1'].map(async (partitionId) => {
    for (let i = 0; i < events / 2;) {
      const batch = await producer.createBatch({ partitionId });
      for (let n = 0; n < 250 && i < events / 2; n++, i++) {
        assert.ok(batch.tryAdd({ body: i }));
      }
      await producer.sendBatch(batch);
    }
  }));
  const took = (Date.now() - began) / 1000;
  await producer.close();
  assert.ok(took >= events / 1000 - 1.2 && took <= events / 1000 + 4, `it took ${took} s`);
});

await test('js: a reader gets them in order at its rate', async () => {
  const consumer = new EventHubConsumerClient('$Default', cs, hub);
  const next = { 0: 0, 1: 0 };
  let sub;
  const began = Date.now();
  await new Promise((done, fail) => {
    sub = consumer.subscribe({
      processEvents: async (batch, context) => {
        for (const e of batch) {
          if (e.body !== next[context.partitionId]++) {
            fail(new Error(`event ${e.body} of partition ${context.partitionId} out of order`));
          }
        }
        if (next[0] + next[1] === events) done();
      },
      processError: async (e) => fail(e),
    }, { startPosition: earliestEventPosition, maxBatchSize: 1000, maxWaitTimeInSeconds: 1 });
  }).finally(() => sub.close());
  const took = (Date.now() - began) / 1000;
  await consumer.close();
  // 4096 at once, the rest at 4096 a second.
  assert.ok(took >= (events - 4096) / 4096 - 0.1 && took <= 8, `it took ${took} s`);
});
finish();
