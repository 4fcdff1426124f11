#ifndef TEST_UNIT_AMQP_GOLDEN_H
#define TEST_UNIT_AMQP_GOLDEN_H

/* Bytes that real clients wrote, in hexadecimal.
 *
 * Messages, as each library encodes them: rhea 3.0.5 (under the JavaScript SDK),
 * qpid-proton 0.37 and uamqp 1.5.3. Transcripts, all a client sent over one
 * connection to a server with max-frame-size 1024: js_main and js_reader are
 * @azure/event-hubs 6.0.4 sending and receiving, pyamqp is the engine of the
 * Python SDK 5.11, proton_client qpid-proton. proton_engine is what qpid-proton
 * as a server writes: every performative, errors and a rejected delivery. */

extern const char golden_rhea_all[];
extern const char golden_rhea_seq[];
extern const char golden_rhea_value[];
extern const char golden_rhea_null_data[];
extern const char golden_rhea_empty[];
extern const char golden_rhea_batch[];
extern const char golden_rhea_batch_inner_keys[];
extern const char golden_rhea_batch_differ[];
extern const char golden_proton_all[];
extern const char golden_proton_value[];
extern const char golden_proton_empty[];
extern const char golden_uamqp_keyed[];
extern const char golden_js_main[];
extern const char golden_js_reader[];
extern const char golden_pyamqp[];
extern const char golden_proton_client[];
extern const char golden_proton_engine[];

#endif
