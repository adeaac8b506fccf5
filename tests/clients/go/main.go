// franz-go as a user of the broker; the commands are in ../README.md.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	perCodec = 200
	limit    = 60 * time.Second
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

type options struct {
	bootstrap, topic, group string
	from, count, partitions int
	rate                    float64
}

func fail(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "franz-go client: "+format+"\n", a...)
	os.Exit(1)
}

func must(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func ok(name string) { fmt.Println("ok", name) }

func client(o options, more ...kgo.Opt) *kgo.Client {
	// A broker that is killed behind the first request of a connection would be taken for one that wants SASL.
	seeds := kgo.SeedBrokers(strings.Split(o.bootstrap, ",")...)
	c, err := kgo.NewClient(append([]kgo.Opt{seeds, kgo.AlwaysRetryEOF()}, more...)...)
	must("client", err)
	return c
}

func key(codec string, n int) []byte {
	if n%10 == 0 {
		return nil
	}
	return []byte(fmt.Sprintf("%s-%d", codec, n))
}

func value(codec string, n int) []byte {
	if n%10 == 1 {
		return nil
	}
	return []byte(strings.Repeat(fmt.Sprintf("%s %d ", codec, n), 20))
}

// produceCodec sends records with keys, headers (one name twice, one without a value), some without key or value.
func produceCodec(ctx context.Context, o options, codec string) {
	c := client(o, kgo.ProducerBatchCompression(codecs[codec]), kgo.DefaultProduceTopic(o.topic))
	defer c.Close()
	var records []*kgo.Record
	for n := 0; n < perCodec; n++ {
		records = append(records, &kgo.Record{Key: key(codec, n), Value: value(codec, n), Headers: []kgo.RecordHeader{
			{Key: "n", Value: []byte(strconv.Itoa(n))}, {Key: "n", Value: []byte("again")}, {Key: "codec", Value: []byte(codec)}, {Key: "empty"}}})
	}
	must("produce "+codec, c.ProduceSync(ctx, records...).FirstErr())
}

func readAll(ctx context.Context, o options, total int) map[int32]int64 {
	c := client(o, kgo.ConsumeTopics(o.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	seen, next := map[string]bool{}, map[int32]int64{}
	for len(seen) < total {
		fetches := c.PollFetches(ctx)
		must("while reading", fetches.Err0())
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next[r.Partition] {
				fail("partition %d: offset %d where %d was due", r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition]++
			if len(r.Headers) != 4 || r.Headers[1].Key != "n" || string(r.Headers[1].Value) != "again" || r.Headers[3].Value != nil {
				fail("headers changed: %v", r.Headers)
			}
			n, err := strconv.Atoi(string(r.Headers[0].Value))
			must("header n", err)
			codec := string(r.Headers[2].Value)
			if string(r.Key) != string(key(codec, n)) || (r.Key == nil) != (n%10 == 0) {
				fail("key of %s %d changed: %q", codec, n, r.Key)
			}
			if string(r.Value) != string(value(codec, n)) || (r.Value == nil) != (n%10 == 1) {
				fail("value of %s %d changed: %q", codec, n, r.Value)
			}
			id := fmt.Sprint(codec, n)
			if seen[id] {
				fail("record %s is there twice", id)
			}
			seen[id] = true
		})
	}
	return next
}

func check(ctx context.Context, o options) {
	c := client(o)
	defer c.Close()
	admin := kadm.NewClient(c)
	_, err := admin.CreateTopic(ctx, 3, 1, nil, o.topic)
	must("create", err)
	ok("create")
	if _, err = admin.CreateTopic(ctx, 3, 1, nil, o.topic); !errors.Is(err, kerr.TopicAlreadyExists) {
		fail("creating the topic again: %v", err)
	}
	ok("create again is refused")
	topics, err := admin.ListTopics(ctx, o.topic)
	must("list topics", err)
	if got := len(topics[o.topic].Partitions); got != 3 {
		fail("%d partitions in the metadata", got)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, o.topic)
	must("describe configs", err)
	policy := ""
	for _, entry := range configs[0].Configs {
		if entry.Key == "cleanup.policy" {
			policy = entry.MaybeValue()
		}
	}
	if policy != "delete" {
		fail("cleanup.policy is %q", policy)
	}
	ok("describe")
	names := make([]string, 0, len(codecs))
	for name := range codecs {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		produceCodec(ctx, o, name)
		ok("produce " + name)
	}
	next := readAll(ctx, o, perCodec*len(codecs))
	ok("read all once")
	starts, err := admin.ListStartOffsets(ctx, o.topic)
	must("start offsets", err)
	ends, err := admin.ListEndOffsets(ctx, o.topic)
	must("end offsets", err)
	later, err := admin.ListOffsetsAfterMilli(ctx, 1, o.topic)
	must("offsets by time", err)
	for p := int32(0); p < 3; p++ {
		start, _ := starts.Lookup(o.topic, p)
		end, _ := ends.Lookup(o.topic, p)
		first, _ := later.Lookup(o.topic, p)
		if start.Offset != 0 || end.Offset != next[p] || first.Offset != 0 {
			fail("partition %d: start %d, end %d of %d, first after time 1 %d", p, start.Offset, end.Offset, next[p], first.Offset)
		}
	}
	ok("list offsets")
	transactions(ctx, o)
	ok("transactions")
	_, err = admin.DeleteTopic(ctx, o.topic)
	must("delete", err)
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		details, err := admin.ListTopics(ctx)
		must("list topics", err)
		if !details.Has(o.topic) {
			break
		}
		if time.Now().After(deadline) {
			fail("the topic is still there after its deletion")
		}
	}
	ok("delete")
}

// transactions commits one and aborts one: a read committed reader sees the first only.
func transactions(ctx context.Context, o options) {
	topic := o.topic + "-transactions"
	c := client(o, kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
	defer c.Close()
	admin := kadm.NewClient(c)
	_, err := admin.CreateTopic(ctx, 1, 1, nil, topic)
	must("create", err)
	for _, kind := range []string{"aborted", "committed"} {
		must("begin", c.BeginTransaction())
		for n := 0; n < 10; n++ {
			must("produce", c.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(kind, n))).FirstErr())
		}
		must("end", c.EndTransaction(ctx, kgo.TransactionEndTry(kind == "committed")))
	}
	reader := client(o, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	for seen := 0; seen < 10; {
		fetches := reader.PollFetches(ctx)
		must("while reading", fetches.Err0())
		fetches.EachRecord(func(r *kgo.Record) {
			if expected := fmt.Sprint("committed", seen); string(r.Value) != expected {
				fail("read committed: %q where %q was due", r.Value, expected)
			}
			seen++
		})
	}
	_, err = admin.DeleteTopic(ctx, topic)
	must("delete", err)
}

// read prints all committed records between the start and the end as they are now.
func read(ctx context.Context, o options) {
	c := client(o, kgo.ConsumeTopics(o.topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords())
	defer c.Close()
	ends, err := kadm.NewClient(c).ListCommittedOffsets(ctx, o.topic)
	must("end offsets", err)
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		must("end offset", end.Err)
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		must("while reading", fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			end, reading := left[r.Partition]
			if !reading {
				return
			}
			if !r.Attrs.IsControl() {
				fmt.Println("record", r.Partition, r.Offset, string(r.Value))
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
}

func member(ctx context.Context, o options) {
	assigned := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		list := partitions[o.topic]
		sort.Slice(list, func(i, j int) bool { return list[i] < list[j] })
		fmt.Println("assigned", strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]"))
	}
	c := client(o, kgo.ConsumerGroup(o.group), kgo.ConsumeTopics(o.topic), kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(assigned))
	ended := make(chan struct{})
	go func() {
		for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
		}
		close(ended)
	}()
	for {
		select {
		case <-ended:
			c.CloseAllowingRebalance()
			return
		default:
		}
		poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := c.PollRecords(poll, 50)
		cancel()
		var records []*kgo.Record
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Println("record", r.Partition, r.Offset, string(r.Value))
			records = append(records, r)
		})
		if len(records) > 0 {
			if err := c.CommitRecords(ctx, records...); err != nil {
				fmt.Fprintln(os.Stderr, "commit refused:", err)
			} else {
				fmt.Println("committed")
			}
		}
		c.AllowRebalance()
	}
}

func produce(ctx context.Context, o options) {
	c := client(o, kgo.DefaultProduceTopic(o.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequestRetries(10000),
		kgo.RecordDeliveryTimeout(2*time.Minute), kgo.ProducerLinger(2*time.Millisecond))
	defer c.Close()
	started := time.Now()
	for n := o.from; n < o.from+o.count; n++ {
		c.Produce(ctx, &kgo.Record{Value: []byte(strconv.Itoa(n)), Partition: int32(n % o.partitions)}, func(r *kgo.Record, err error) {
			must("record "+string(r.Value), err)
			fmt.Println("acked", string(r.Value), r.Partition, r.Offset)
		})
		if o.rate > 0 {
			time.Sleep(time.Until(started.Add(time.Duration(float64(n-o.from) / o.rate * float64(time.Second)))))
		}
	}
	must("flush", c.Flush(ctx))
}

func main() {
	if len(os.Args) < 2 {
		fail("a command is needed: check, create, member, produce or read")
	}
	var o options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.bootstrap, "bootstrap", "", "HOST:PORT")
	flags.StringVar(&o.topic, "topic", "", "topic")
	flags.StringVar(&o.group, "group", "", "consumer group")
	flags.IntVar(&o.from, "from", 0, "first value")
	flags.IntVar(&o.count, "count", 0, "how many values")
	flags.IntVar(&o.partitions, "partitions", 3, "partitions to spread over")
	flags.Float64Var(&o.rate, "rate", 0, "records a second; 0 is as fast as it goes")
	must("flags", flags.Parse(os.Args[2:]))
	ctx := context.Background()
	switch os.Args[1] {
	case "check":
		bounded, cancel := context.WithTimeout(ctx, 2*limit)
		defer cancel()
		check(bounded, o)
	case "create":
		_, err := kadm.NewClient(client(o)).CreateTopic(ctx, int32(o.partitions), 1, nil, o.topic)
		must("create", err)
	case "read":
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		read(bounded, o)
	case "member":
		member(ctx, o)
	case "produce":
		produce(ctx, o)
	default:
		fail("unknown command %q: check, create, member, produce or read", os.Args[1])
	}
}
