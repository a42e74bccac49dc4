package power_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A recording is what a disk saw while everything worked, and the books.
type recording struct {
	base  []byte // the disk before
	log   []write
	trial *trial
	start int64 // the clock when the log began
	acks  []int64
}

// makeRecording lets everything work on a disk that records.
func (p *prepared) makeRecording(t *testing.T, bin, dir string, seed uint64, acts int) *recording {
	t.Helper()
	base, err := os.ReadFile(p.image)
	if err != nil {
		t.Fatal(err)
	}
	tr := p.start(t, bin, dir, seed)
	if tr.recorder, err = record(filepath.Join(dir, "disk"), base); err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	mounted(t, tr.recorder.path, tr.disk)
	f := tr.work(acts)
	unmounted(t, tr.disk)
	log := tr.recorder.log // all of it, for what is behind the last act too
	if err := tr.recorder.close(); err != nil {
		t.Fatal(err)
	}
	if len(f.errs) > 0 {
		t.Fatalf("without any cut: %v", f.errs)
	}
	return &recording{base: base, log: log, trial: tr, start: p.ticks, acks: tr.acks(p.ticks)}
}

// work runs the traffic until so many acts were acknowledged, and kills the
// daemons.
func (tr *trial) work(acts int) *traffic {
	tr.Helper()
	if err := tr.start("authd", "deliver", "queue-run", "smtpd", "imapd"); err != nil {
		tr.Fatal(err)
	}
	defer tr.kill()
	before := tr.acknowledged()
	f := tr.traffic()
	for deadline := time.Now().Add(patience); tr.acknowledged() < before+acts && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	close(f.stop)
	f.wait.Wait()
	return f
}

func (tr *trial) acknowledged() (n int) {
	for _, b := range tr.books {
		b.mu.Lock()
		n += b.acknowledged()
		b.mu.Unlock()
	}
	return n
}

// acks are the times at which something was acknowledged.
func (tr *trial) acks(after int64) (all []int64) {
	for _, b := range tr.books {
		for _, o := range b.ops {
			all = append(all, o.end)
		}
		for _, d := range b.deliveries {
			all = append(all, d.end)
		}
	}
	for _, e := range tr.admin.edits {
		all = append(all, e.end)
	}
	return slices.DeleteFunc(all, func(at int64) bool { return at <= after || at == never })
}

// cuts picks moments in order: half of them at the very point at which
// something was acknowledged, where most is promised and least is flushed.
func (r *recording) cuts(n int, random *rand.Rand) []int {
	var all []int
	for i := range n {
		if i%2 == 0 && len(r.acks) > 0 {
			all = append(all, int(r.acks[random.IntN(len(r.acks))]-r.start))
		} else {
			all = append(all, random.IntN(len(r.log)+1))
		}
	}
	slices.Sort(all)
	return all
}

// replay makes the disks that n power cuts would have left, and checks each.
func (r *recording) replay(t *testing.T, n int, random *rand.Rand) (lost []string, total outcome) {
	t.Helper()
	durable, done := slices.Clone(r.base), 0
	for _, at := range r.cuts(n, random) {
		flushed := at
		for flushed > done && !r.log[flushed-1].flush() {
			flushed--
		}
		for ; done < flushed; done++ {
			copy(durable[r.log[done].offset:], r.log[done].data)
		}
		image := slices.Clone(durable)
		kept := some(image, r.log[flushed:at], random)
		o := r.check(t, image, at)
		total.extra, total.took = total.extra+o.extra, max(total.took, o.took)
		if len(o.faults) > 0 {
			keep(r.trial.image)
			lost = append(lost, fmt.Sprintf("write %d of %d, %d blocks kept of those since flush %d: %s", at, len(r.log), kept, flushed, strings.Join(o.faults[:min(4, len(o.faults))], "\n\t")))
			t.Log(lost[len(lost)-1])
		}
	}
	return lost, total
}

const block, sector = 4096, 512

// some applies a random subset of the blocks of unflushed writes. In a quarter
// of all calls the last block that is kept is torn.
func some(image []byte, pending []write, random *rand.Rand) (kept int) {
	share := []float64{0, 0.2, 0.5, 0.8, 1}[random.IntN(5)]
	var last []byte // the part of the image that the last block went to
	var before []byte
	for _, w := range pending {
		for from := 0; from < len(w.data); from += block {
			if random.Float64() >= share {
				continue
			}
			part := w.data[from:min(from+block, len(w.data))]
			last = image[w.offset+int64(from):][:len(part)]
			before = append(before[:0], last...)
			copy(last, part)
			kept++
		}
	}
	if random.IntN(4) == 0 && len(last) > sector {
		torn := sector * random.IntN(len(last)/sector)
		copy(last[torn:], before[torn:])
	}
	return kept
}

// check brings a disk up and judges it.
func (r *recording) check(t *testing.T, image []byte, at int) outcome {
	t.Helper()
	tr := r.trial
	if err := writeImage(tr.image, image); err != nil {
		t.Fatal(err)
	}
	if err := mount(tr.image, tr.disk); err != nil {
		return outcome{faults: []string{err.Error()}}
	}
	defer unmounted(t, tr.disk)
	m := moment{r.start + int64(at), r.start + int64(at)}
	o := tr.check(tr.books, m)
	tr.admin.judge(&tr.system, m, &o)
	return o
}

// perRecording is how many replays share one recording.
const perRecording = 100

// TestReplays plays what a disk saw back to random moments.
func TestReplays(t *testing.T) {
	needs(t, "mkfs.ext4")
	n := count(t, "PEYK_POWER_REPLAYS", 10, 1000)
	bin := built(t)
	hands := 1
	if full() {
		hands = 2
	}
	for hand := range hands {
		t.Run(fmt.Sprint("hand", hand), func(t *testing.T) {
			t.Parallel()
			for _, line := range replays(t, bin, uint64(1+100*hand), n/hands) {
				t.Error(line)
			}
		})
	}
}

// replays makes n of them and returns a line for each that lost something.
func replays(t *testing.T, bin string, seed uint64, n int) (lost []string) {
	t.Helper()
	dir := workDir(t)
	p := prepare(t, bin, dir)
	acts, writes, extra, slowest := 0, 0, 0, time.Duration(0)
	for ; n > 0; seed++ {
		size := 400
		if !full() {
			size = 60
		}
		r := p.makeRecording(t, bin, dir, seed, size)
		here := min(n, perRecording)
		bad, o := r.replay(t, here, rand.New(rand.NewPCG(seed, 4)))
		for _, line := range bad {
			lost = append(lost, fmt.Sprintf("recording %d, %s", seed, line))
		}
		acts, writes, extra, slowest = acts+r.trial.acknowledged(), writes+len(r.log), extra+o.extra, max(slowest, o.took)
		n -= here
		t.Logf("%d acts acknowledged, %d writes and flushes recorded, %d replays to go, %d lost something; %d extra copies, queue empty after at most %v", acts, writes, n, len(lost), extra, slowest.Round(time.Millisecond))
	}
	return lost
}

// TestReplaysSeePlantedFaults holds that the same finds missing flushes.
func TestReplaysSeePlantedFaults(t *testing.T) {
	needs(t, "mkfs.ext4")
	if !full() {
		t.Skip("make crash does it")
	}
	n := count(t, "PEYK_POWER_PLANTED_REPLAYS", 0, 100)
	for _, p := range faults {
		t.Run(p.name, func(t *testing.T) {
			lost := replays(t, p.build(t), 1, n)
			t.Logf("%d of %d replays lost something", len(lost), n)
			if len(lost) == 0 {
				t.Error("no replay saw it")
			}
		})
	}
}
