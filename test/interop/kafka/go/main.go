// franz-go against a server: `main` runs every scenario, `through` writes while the
// server is killed, `resume` is what must still hold afterwards. Prints "ok NAME" or
// "not ok NAME reason" lines; exits 1 when one failed. The environment says where
// the server is; see ../../kafka.sh.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

var (
	name   = env("KAFKA_NAME", "go")
	data   = env("KAFKA_PREFIX", "") + name + "-data"
	shared = env("KAFKA_PREFIX", "") + name + "-group"
	once   = env("KAFKA_PREFIX", "") + name + "-once"
	failed bool
)

func env(key, otherwise string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return otherwise
}

func test(what string, f func(context.Context) error) {
	if only := os.Getenv("KAFKA_ONLY"); only != "" && !strings.Contains(what, only) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	began := time.Now()
	if err := f(ctx); err != nil {
		failed = true
		fmt.Printf("not ok %s: %s %v\n", name, what, err)
		return
	}
	fmt.Printf("ok %s: %s\n", name, what)
	fmt.Fprintf(os.Stderr, "%s took %v\n", what, time.Since(began).Round(time.Millisecond))
}

func overTLS() []kgo.Opt {
	pem, err := os.ReadFile(os.Getenv("KAFKA_CA"))
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return []kgo.Opt{kgo.SeedBrokers(os.Getenv("KAFKA_TLS")), kgo.DialTLSConfig(&tls.Config{RootCAs: pool})}
}

// login is told from other options, since a second one would only be tried
// where the server does not offer the first's mechanism.
type login struct{ kgo.Opt }

func as(user, password string) kgo.Opt {
	return login{kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())}
}

// client connects as the policy with every right, unless opts have a login.
func client(opts ...kgo.Opt) *kgo.Client {
	all := []kgo.Opt{}
	if os.Getenv("KAFKA_TLS") != "" {
		all = append(all, overTLS()...)
	} else {
		all = append(all, kgo.SeedBrokers(os.Getenv("KAFKA_PLAIN")))
	}
	given := false
	for _, o := range opts {
		if l, is := o.(login); is {
			all, given = append(all, l.Opt), true
		} else {
			all = append(all, o)
		}
	}
	if !given {
		all = append(all, as(os.Getenv("KAFKA_USER"), os.Getenv("KAFKA_PASSWORD")).(login).Opt)
	}
	all = append([]kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.RequestRetries(3), kgo.RetryTimeout(8 * time.Second), kgo.ProducerLinger(0)}, all...)
	if v := os.Getenv("KAFKA_MAX_VERSION"); v != "" {
		max := kversion.FromString(v)
		if max == nil {
			panic("no such version " + v)
		}
		all = append(all, kgo.MaxVersions(max))
	}
	cl, err := kgo.NewClient(all...)
	if err != nil {
		panic(err)
	}
	return cl
}

func send(ctx context.Context, cl *kgo.Client, rs ...*kgo.Record) error {
	return cl.ProduceSync(ctx, rs...).FirstErr()
}

func rec(topic string, partition int32, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
}

// read polls until n records are there.
func read(ctx context.Context, cl *kgo.Client, n int) ([]*kgo.Record, error) {
	var got []*kgo.Record
	for len(got) < n {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			return got, fmt.Errorf("%d of %d records: %w", len(got), n, err)
		}
		for _, e := range fs.Errors() {
			return got, fmt.Errorf("%s/%d: %w", e.Topic, e.Partition, e.Err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, r) })
	}
	return got, nil
}

func at(topic string, partition int32, o kgo.Offset) kgo.Opt {
	return kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: o}})
}

func readFrom(ctx context.Context, topic string, partition int32, o kgo.Offset, n int, opts ...kgo.Opt) ([]*kgo.Record, error) {
	cl := client(append(opts, at(topic, partition, o))...)
	defer cl.Close()
	return read(ctx, cl, n)
}

// end is the offset that the next record of a partition gets.
func end(ctx context.Context, cl *kgo.Client, topic string, partition int32) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return 0, err
	}
	got := resp.Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}

func wants(err error, one ...*kerr.Error) error {
	if err == nil {
		return errors.New("no error")
	}
	for _, e := range one {
		if errors.Is(err, e) {
			return nil
		}
	}
	return fmt.Errorf("another error: %w", err)
}

func connects(opts ...kgo.Opt) func(context.Context) error {
	return func(ctx context.Context) error {
		cl := client(opts...)
		defer cl.Close()
		resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		for _, t := range resp.Topics {
			if t.Topic != nil && *t.Topic == data {
				if len(t.Partitions) != 4 {
					return fmt.Errorf("%d partitions", len(t.Partitions))
				}
				if len(resp.Brokers) < 1 || resp.ControllerID != resp.Brokers[0].NodeID {
					return fmt.Errorf("brokers %v, controller %d", resp.Brokers, resp.ControllerID)
				}
				return nil
			}
		}
		return fmt.Errorf("%s is not listed", data)
	}
}

func codecs(ctx context.Context) error {
	kinds := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for kind, codec := range kinds {
		if err := oneCodec(ctx, kind, codec); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func oneCodec(ctx context.Context, kind string, codec kgo.CompressionCodec) error {
	cl := client(kgo.ProducerBatchCompression(codec))
	defer cl.Close()
	start, err := end(ctx, cl, data, 0)
	if err != nil {
		return err
	}
	var rs []*kgo.Record
	when := time.UnixMilli(time.Now().UnixMilli() - 60000)
	for i := 0; i < 50; i++ {
		r := rec(data, 0, fmt.Sprintf("%s %d %s", kind, i, strings.Repeat("squeeze me ", 20)))
		r.Key = []byte(fmt.Sprint("key", i))
		r.Timestamp = when.Add(time.Duration(i) * time.Millisecond)
		r.Headers = []kgo.RecordHeader{{Key: "n", Value: []byte(fmt.Sprint(i))}, {Key: "n", Value: nil}}
		rs = append(rs, r)
	}
	if err := send(ctx, cl, rs...); err != nil {
		return err
	}
	got, err := readFrom(ctx, data, 0, kgo.NewOffset().At(start), 50)
	if err != nil {
		return err
	}
	for i, g := range got[:50] {
		w := rs[i]
		if !bytes.Equal(g.Key, w.Key) || !bytes.Equal(g.Value, w.Value) || !g.Timestamp.Equal(w.Timestamp) ||
			g.Offset != start+int64(i) || w.Offset != g.Offset || len(g.Headers) != 2 ||
			string(g.Headers[0].Value) != fmt.Sprint(i) || g.Headers[1].Value != nil {
			return fmt.Errorf("record %d differs: %+v", i, g)
		}
	}
	return nil
}

func acks(ctx context.Context) error {
	for i, a := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()} {
		cl := client(kgo.RequiredAcks(a), kgo.DisableIdempotentWrite())
		start, err := end(ctx, cl, data, 1)
		if err == nil {
			err = send(ctx, cl, rec(data, 1, fmt.Sprint("acks ", i)))
		}
		cl.Close()
		if err != nil {
			return err
		}
		got, err := readFrom(ctx, data, 1, kgo.NewOffset().At(start), 1)
		if err != nil || string(got[0].Value) != fmt.Sprint("acks ", i) {
			return fmt.Errorf("acks %d: %v %w", i, got, err)
		}
	}
	return nil
}

func nothing(ctx context.Context) error {
	cl := client()
	defer cl.Close()
	start, err := end(ctx, cl, data, 1)
	if err != nil {
		return err
	}
	rs := []*kgo.Record{{Topic: data, Partition: 1, Key: []byte("k")}, {Topic: data, Partition: 1, Value: []byte{}},
		{Topic: data, Partition: 1, Key: []byte{}, Value: []byte("v")}}
	if err := send(ctx, cl, rs...); err != nil {
		return err
	}
	got, err := readFrom(ctx, data, 1, kgo.NewOffset().At(start), 3)
	if err != nil {
		return err
	}
	if got[0].Value != nil || got[1].Value == nil || got[1].Key != nil || got[2].Key == nil {
		return fmt.Errorf("%+v %+v %+v", got[0], got[1], got[2])
	}
	return nil
}

// Many small requests in flight at once: order, and every record once.
func idempotent(ctx context.Context) error {
	cl := client(kgo.MaxBufferedRecords(2000), kgo.ProducerBatchMaxBytes(2000))
	defer cl.Close()
	start, err := end(ctx, cl, data, 2)
	if err != nil {
		return err
	}
	var first error
	for i := 0; i < 2000; i++ {
		cl.Produce(ctx, rec(data, 2, fmt.Sprintf("%06d", i)), func(_ *kgo.Record, err error) {
			if err != nil && first == nil {
				first = err
			}
		})
	}
	if err := cl.Flush(ctx); err != nil || first != nil {
		return errors.Join(err, first)
	}
	got, err := readFrom(ctx, data, 2, kgo.NewOffset().At(start), 2000)
	if err != nil {
		return err
	}
	for i, g := range got {
		if string(g.Value) != fmt.Sprintf("%06d", i) || g.Offset != start+int64(i) {
			return fmt.Errorf("at %d: %s, offset %d", i, g.Value, g.Offset)
		}
	}
	return nil
}

// Writes for some seconds, in which the server is killed: all arrives, once, in order.
func through(ctx context.Context) error {
	cl := client(kgo.RecordDeliveryTimeout(60*time.Second), kgo.RecordRetries(1000), kgo.RetryTimeout(30*time.Second),
		kgo.RequestRetries(100))
	defer cl.Close()
	start, err := end(ctx, cl, data, 2)
	if err != nil {
		return err
	}
	var first error
	n := 0
	for began := time.Now(); time.Since(began) < 8*time.Second; n++ {
		cl.Produce(ctx, rec(data, 2, fmt.Sprintf("%06d", n)), func(_ *kgo.Record, err error) {
			if err != nil && first == nil {
				first = err
			}
		})
		time.Sleep(time.Millisecond)
	}
	if err := cl.Flush(ctx); err != nil || first != nil {
		return errors.Join(err, first)
	}
	last, err := end(ctx, cl, data, 2)
	if err != nil || last != start+int64(n) {
		return fmt.Errorf("there are %d, not %d %w", last-start, n, err)
	}
	got, err := readFrom(ctx, data, 2, kgo.NewOffset().At(start), n)
	if err != nil {
		return err
	}
	for i, g := range got {
		if string(g.Value) != fmt.Sprintf("%06d", i) || g.Offset != start+int64(i) {
			return fmt.Errorf("at %d: %s, offset %d", i, g.Value, g.Offset)
		}
	}
	fmt.Fprintln(os.Stderr, n, "records got through")
	return nil
}

func positions(ctx context.Context) error {
	cl := client()
	defer cl.Close()
	start, err := end(ctx, cl, data, 3)
	if err != nil {
		return err
	}
	t := time.UnixMilli(time.Now().UnixMilli() - 100000)
	for i := 0; i < 10; i++ {
		r := rec(data, 3, fmt.Sprint("at ", i))
		r.Timestamp = t.Add(time.Duration(i) * time.Second)
		if err := send(ctx, cl, r); err != nil {
			return err
		}
	}
	for what, o := range map[string]struct {
		from kgo.Offset
		want int64
	}{
		"earliest":       {kgo.NewOffset().AtStart(), 0},
		"an offset":      {kgo.NewOffset().At(start + 7), start + 7},
		"a time":         {kgo.NewOffset().AfterMilli(t.UnixMilli() + 4500), start + 5},
		"an exact time":  {kgo.NewOffset().AfterMilli(t.UnixMilli() + 3000), start + 3},
		"before the end": {kgo.NewOffset().AtEnd().Relative(-2), start + 8},
	} {
		got, err := readFrom(ctx, data, 3, o.from, 1)
		if err != nil || got[0].Offset != o.want {
			return fmt.Errorf("from %s: %v %w", what, got, err)
		}
	}
	return nil
}

// Two members, then one leaves: all of 400 records are seen, and the other has all.
func group(ctx context.Context) error {
	id := shared + "-readers"
	member := func() *kgo.Client {
		return client(kgo.ConsumerGroup(id), kgo.ConsumeTopics(shared), kgo.DisableAutoCommit(),
			kgo.HeartbeatInterval(300*time.Millisecond), kgo.SessionTimeout(6*time.Second),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	produce := func(from int) error {
		cl := client()
		defer cl.Close()
		var rs []*kgo.Record
		for i := from; i < from+200; i++ {
			rs = append(rs, rec(shared, int32(i%4), fmt.Sprint(i)))
		}
		return send(ctx, cl, rs...)
	}
	if err := produce(0); err != nil {
		return err
	}
	seen := map[string]bool{}
	parts := [2]map[int32]bool{{}, {}}
	members := []*kgo.Client{member(), member()}
	defer members[1].Close()
	poll := func(m int) error {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		fs := members[m].PollFetches(short)
		for _, e := range fs.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) {
				return e.Err
			}
		}
		fs.EachRecord(func(r *kgo.Record) {
			seen[string(r.Value)] = true
			parts[m][r.Partition] = true
		})
		if err := members[m].CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil && len(seen) == 0 {
			return err
		}
		return nil
	}
	// Both have joined when each of them has got something after a rebalance.
	for n := 200; len(parts[0]) == 0 || len(parts[1]) == 0 || len(seen) < n; {
		if ctx.Err() != nil {
			return fmt.Errorf("%d records seen, partitions %v", len(seen), parts)
		}
		for m := range members {
			if err := poll(m); err != nil {
				return err
			}
		}
		if len(seen) >= n && (len(parts[0]) == 0 || len(parts[1]) == 0) {
			if err := produce(n); err != nil {
				return err
			}
			n += 200
		}
	}
	members[0].Close()
	parts[1] = map[int32]bool{}
	n := len(seen)
	if err := produce(10000); err != nil {
		return err
	}
	for len(parts[1]) < 4 || len(seen) < n+200 {
		if ctx.Err() != nil {
			return fmt.Errorf("after one left: %d of %d records, partitions %v", len(seen), n+200, parts[1])
		}
		if err := poll(1); err != nil {
			return err
		}
	}
	return nil
}

func reader(opts ...kgo.Opt) *kgo.Client {
	return client(append(opts, kgo.ConsumerGroup(once+"-reader"), kgo.ConsumeTopics(once), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
}

// Reads the group's next record, which must have value want, and commits it.
func next(ctx context.Context, want int) error {
	cl := reader()
	defer cl.Close()
	fs := cl.PollRecords(ctx, 1)
	if err := fs.Err(); err != nil {
		return err
	}
	r := fs.Records()[0]
	if string(r.Value) != fmt.Sprint(want) {
		return fmt.Errorf("got %s, not %d", r.Value, want)
	}
	return cl.CommitRecords(ctx, r)
}

func commits(ctx context.Context) error {
	cl := client()
	defer cl.Close()
	for i := 0; i < 10; i++ {
		if err := send(ctx, cl, rec(once, 0, fmt.Sprint(i))); err != nil {
			return err
		}
	}
	for i := 0; i < 3; i++ {
		if err := next(ctx, i); err != nil {
			return fmt.Errorf("restart %d of the client: %w", i, err)
		}
	}
	return nil
}

func groupsAreShown(ctx context.Context) error {
	cl := reader()
	defer cl.Close()
	fs := cl.PollRecords(ctx, 1)
	if err := fs.Err(); err != nil {
		return err
	}
	list, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	found := false
	for _, g := range list.Groups {
		found = found || g.Group == once+"-reader"
	}
	desc := kmsg.NewPtrDescribeGroupsRequest()
	desc.Groups = []string{once + "-reader", once + "-nobody"}
	d, err := desc.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	g := d.Groups[0]
	if !found || g.State != "Stable" || len(g.Members) != 1 || g.Protocol != "cooperative-sticky" && g.Protocol != "range" {
		return fmt.Errorf("listed %v: %+v", found, g)
	}
	if d.Groups[1].State != "Dead" {
		return fmt.Errorf("a group that is not there: %+v", d.Groups[1])
	}
	return nil
}

func badPassword(ctx context.Context) error {
	cl := client(as(os.Getenv("KAFKA_USER"), "wrong"))
	defer cl.Close()
	_, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
	return wants(err, kerr.SaslAuthenticationFailed)
}

func unknownTopic(ctx context.Context) error {
	cl := client(kgo.UnknownTopicRetries(1))
	defer cl.Close()
	err := send(ctx, cl, rec("no-such-hub", 0, "x"))
	return wants(err, kerr.UnknownTopicOrPartition)
}

func outOfRange(ctx context.Context) error {
	_, err := readFrom(ctx, data, 0, kgo.NewOffset().At(1<<40), 1,
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepRetryableFetchErrors())
	return wants(err, kerr.OffsetOutOfRange)
}

func sendOnly(ctx context.Context) error {
	role := as(os.Getenv("KAFKA_SEND_USER"), os.Getenv("KAFKA_SEND_PASSWORD"))
	cl := client(role)
	defer cl.Close()
	if err := send(ctx, cl, rec(data, 1, "by a sender")); err != nil {
		return err
	}
	_, err := readFrom(ctx, data, 1, kgo.NewOffset().At(0), 1, role)
	if err := wants(err, kerr.TopicAuthorizationFailed); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	g := reader(role)
	defer g.Close()
	_, err = read(ctx, g, 1)
	var lost *kgo.ErrGroupSession
	if err := wants(err, kerr.GroupAuthorizationFailed); err != nil && !errors.As(err, &lost) {
		return fmt.Errorf("group: %w", err)
	}
	return nil
}

func listenOnly(ctx context.Context) error {
	role := as(os.Getenv("KAFKA_LISTEN_USER"), os.Getenv("KAFKA_LISTEN_PASSWORD"))
	if _, err := readFrom(ctx, data, 0, kgo.NewOffset().AtStart(), 1, role); err != nil {
		return err
	}
	for _, opts := range [][]kgo.Opt{{role}, {role, kgo.DisableIdempotentWrite()}} {
		cl := client(opts...)
		err := send(ctx, cl, rec(data, 1, "by a listener"))
		cl.Close()
		if err := wants(err, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed); err != nil {
			return err
		}
	}
	return nil
}

func admin(ctx context.Context) error {
	cl := client()
	defer cl.Close()
	topic := env("KAFKA_PREFIX", "") + name + "-made"
	make := kmsg.NewPtrCreateTopicsRequest()
	make.TimeoutMillis = 10000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 2, 1
	make.Topics = append(make.Topics, t)
	for i, want := range []int16{0, kerr.TopicAlreadyExists.Code} {
		made, err := make.RequestWith(ctx, cl)
		if err != nil || made.Topics[0].ErrorCode != want {
			return fmt.Errorf("create %d: %+v %w", i, made, err)
		}
	}
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.TimeoutMillis = 10000
	g := kmsg.NewCreatePartitionsRequestTopic()
	g.Topic, g.Count = topic, 5
	grow.Topics = append(grow.Topics, g)
	grown, err := grow.RequestWith(ctx, cl)
	if err != nil || grown.Topics[0].ErrorCode != 0 {
		return fmt.Errorf("grow: %+v %w", grown, err)
	}
	if err := send(ctx, cl, rec(topic, 4, "in the new partition")); err != nil {
		return err
	}
	show := kmsg.NewPtrDescribeConfigsRequest()
	for _, r := range []kmsg.DescribeConfigsRequestResource{
		{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic},
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}} {
		show.Resources = append(show.Resources, r)
	}
	shown, err := show.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	configs := map[string]bool{}
	for _, r := range shown.Resources {
		if r.ErrorCode != 0 {
			return fmt.Errorf("configs: %+v", r)
		}
		for _, c := range r.Configs {
			configs[c.Name] = true
		}
	}
	if !configs["cleanup.policy"] || !configs["retention.ms"] {
		return fmt.Errorf("configs: %v", configs)
	}
	drop := kmsg.NewPtrDeleteTopicsRequest()
	drop.TimeoutMillis = 10000
	drop.TopicNames = []string{topic}
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.Topic = kmsg.StringPtr(topic)
	drop.Topics = append(drop.Topics, dt)
	for i, want := range []int16{0, kerr.UnknownTopicOrPartition.Code} {
		dropped, err := drop.RequestWith(ctx, cl)
		if err != nil || dropped.Topics[0].ErrorCode != want {
			return fmt.Errorf("delete %d: %+v %w", i, dropped, err)
		}
	}
	return nil
}

// Offsets of a group nobody is in: committed from outside, deleted, the group deleted.
func groupAdmin(ctx context.Context) error {
	cl := client()
	defer cl.Close()
	id := once + "-outside"
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Generation = id, -1
	ct := kmsg.NewOffsetCommitRequestTopic()
	ct.Topic = once
	cp := kmsg.NewOffsetCommitRequestTopicPartition()
	cp.Offset, cp.Metadata = 5, kmsg.StringPtr("note")
	ct.Partitions = append(ct.Partitions, cp)
	commit.Topics = append(commit.Topics, ct)
	done, err := commit.RequestWith(ctx, cl)
	if err != nil || done.Topics[0].Partitions[0].ErrorCode != 0 {
		return fmt.Errorf("commit: %+v %w", done, err)
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group = id
	ft := kmsg.NewOffsetFetchRequestTopic()
	ft.Topic, ft.Partitions = once, []int32{0}
	fetch.Topics = append(fetch.Topics, ft)
	fg := kmsg.NewOffsetFetchRequestGroup()
	fg.Group = id
	fgt := kmsg.NewOffsetFetchRequestGroupTopic()
	fgt.Topic, fgt.Partitions = once, []int32{0}
	fg.Topics = append(fg.Topics, fgt)
	fetch.Groups = append(fetch.Groups, fg)
	offset := func() (int64, error) {
		got, err := fetch.RequestWith(ctx, cl)
		if err != nil {
			return 0, err
		}
		if len(got.Groups) > 0 {
			return got.Groups[0].Topics[0].Partitions[0].Offset, nil
		}
		return got.Topics[0].Partitions[0].Offset, nil
	}
	if at, err := offset(); err != nil || at != 5 {
		return fmt.Errorf("committed 5, fetched %d %w", at, err)
	}
	del := kmsg.NewPtrOffsetDeleteRequest()
	del.Group = id
	dt := kmsg.NewOffsetDeleteRequestTopic()
	dt.Topic = once
	dt.Partitions = append(dt.Partitions, kmsg.NewOffsetDeleteRequestTopicPartition())
	del.Topics = append(del.Topics, dt)
	deleted, err := del.RequestWith(ctx, cl)
	if err != nil || deleted.ErrorCode != 0 || deleted.Topics[0].Partitions[0].ErrorCode != 0 {
		return fmt.Errorf("offset delete: %+v %w", deleted, err)
	}
	if at, err := offset(); err != nil || at != -1 {
		return fmt.Errorf("deleted, fetched %d %w", at, err)
	}
	if done, err = commit.RequestWith(ctx, cl); err != nil || done.Topics[0].Partitions[0].ErrorCode != 0 {
		return fmt.Errorf("commit again: %+v %w", done, err)
	}
	gone := kmsg.NewPtrDeleteGroupsRequest()
	gone.Groups = []string{id, once + "-nobody"}
	g, err := gone.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, one := range g.Groups {
		if want := map[string]int16{id: 0, once + "-nobody": kerr.GroupIDNotFound.Code}[one.Group]; one.ErrorCode != want {
			return fmt.Errorf("group delete: %+v", g)
		}
	}
	return nil
}

func cluster(ctx context.Context) error {
	cl := client()
	defer cl.Close()
	d, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, cl)
	if err != nil || d.ErrorCode != 0 || d.ClusterID == "" || len(d.Brokers) != 1 || d.ControllerID != d.Brokers[0].NodeID {
		return fmt.Errorf("%+v %w", d, err)
	}
	e := kmsg.NewPtrOffsetForLeaderEpochRequest()
	e.ReplicaID = -2
	t := kmsg.NewOffsetForLeaderEpochRequestTopic()
	t.Topic = data
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.LeaderEpoch = 0
	t.Partitions = append(t.Partitions, p)
	e.Topics = append(e.Topics, t)
	r, err := e.RequestWith(ctx, cl)
	if err != nil || r.Topics[0].Partitions[0].ErrorCode != 0 {
		return fmt.Errorf("%+v %w", r, err)
	}
	last, err := end(ctx, cl, data, 0)
	if err != nil || r.Topics[0].Partitions[0].EndOffset != last {
		return fmt.Errorf("epoch ends at %d, the partition at %d %w", r.Topics[0].Partitions[0].EndOffset, last, err)
	}
	return nil
}

func transactional(ctx context.Context) error {
	cl := client(kgo.TransactionalID("tx"))
	defer cl.Close()
	err := cl.BeginTransaction()
	if err == nil {
		err = send(ctx, cl, rec(data, 1, "in a transaction"))
	}
	if err == nil || !strings.Contains(err.Error(), kerr.TransactionalIDAuthorizationFailed.Message) {
		return fmt.Errorf("another end: %w", err)
	}
	return nil
}

func main() {
	stage := "main"
	if len(os.Args) > 1 {
		stage = os.Args[1]
	}
	if stage == "resume" {
		test("committed offsets are there after the server was killed", func(ctx context.Context) error { return next(ctx, 3) })
		test("produces after the server was killed", idempotent)
	} else if stage == "through" {
		test("idempotent producer while the server is killed", through)
	} else {
		test("connects and lists", connects())
		if user := os.Getenv("KAFKA_POLICY"); user != "" && os.Getenv("KAFKA_TLS") != "" {
			test("connects with a policy's name and key", connects(as(user, os.Getenv("KAFKA_KEY"))))
		}
		test("every codec, keys, headers, timestamps", codecs)
		test("acks 0, 1, all", acks)
		test("null and empty keys and values", nothing)
		test("idempotent producer in order", idempotent)
		test("earliest, an offset, a time", positions)
		test("two members share, one leaves", group)
		test("committed offsets are there after a restart", commits)
		test("groups are listed and described", groupsAreShown)
		if os.Getenv("KAFKA_MAX_VERSION") == "" {
			// Some of these requests are younger than others.
			test("offsets and groups are deleted", groupAdmin)
			test("topics are made, grown, described, deleted", admin)
			test("cluster and leader epoch", cluster)
		}
		test("wrong password", badPassword)
		test("unknown topic", unknownTopic)
		test("offset out of range", outOfRange)
		test("Send only", sendOnly)
		test("Listen only", listenOnly)
		if os.Getenv("KAFKA_TRANSACTIONS") != "" {
			test("transactions are refused", transactional)
		}
	}
	if failed {
		os.Exit(1)
	}
}
