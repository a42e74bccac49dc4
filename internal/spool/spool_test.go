package spool

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/envelope"
	"peyk/internal/status"
)

const text = "Subject: x\r\n\r\nhello\r\n"

func newQueue(t *testing.T) *Queue {
	t.Helper()
	q := OpenQueue(t.TempDir(), new(commit.Disk))
	for _, p := range []Place{inTmp, InDrop, InQueue, InHold, InCorrupt} { // as Make, without its flushes
		if err := os.MkdirAll(q.path(p), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

func newID(t *testing.T) string {
	t.Helper()
	id, err := NewID(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func letter(id string) *envelope.Envelope {
	return &envelope.Envelope{ID: id, Sender: "a@there.test", Recipients: []envelope.Recipient{{Address: "b@here.test"}}}
}

func put(t *testing.T, q *Queue, message string) string {
	t.Helper()
	id := newID(t)
	w, err := q.Drop().Create(letter(id))
	if err != nil {
		t.Fatal(err)
	}
	for len(message) > 0 { // in uneven pieces
		n := min(len(message), 7000)
		if _, err := io.WriteString(w, message[:n]); err != nil {
			t.Fatal(err)
		}
		message = message[n:]
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return id
}

func ls(t *testing.T, q *Queue, p Place) []string {
	t.Helper()
	list, err := names(q.path(p))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestIDs(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)
	last := ""
	for i := range 1000 {
		id, err := NewID(at.Add(time.Duration(i)*time.Microsecond), rand.Reader)
		if err != nil || !ValidID(id) || len(id) != 31 {
			t.Fatalf("%q, %v", id, err)
		}
		if got := Arrived(id); !got.Equal(at.Add(time.Duration(i) * time.Microsecond)) {
			t.Fatalf("%s is of %v", id, got)
		}
		if id <= last {
			t.Fatalf("%s does not sort after %s", id, last)
		}
		last = id
	}
	all, _ := NewID(at, bytes.NewReader(bytes.Repeat([]byte{0xff}, 12)))
	if want := "zzzzzzzzzzzzzzzzzzzg"; all[11:] != want {
		t.Errorf("96 one bits are %q, want %q", all[11:], want)
	}
	for _, bad := range []string{"", "x", "../../etc/passwd", strings.Repeat("O", 31), strings.Repeat("0", 32), strings.Repeat("0", 30) + "/"} {
		if ValidID(bad) {
			t.Errorf("%q is valid", bad)
		}
	}
	if _, err := NewID(at, bytes.NewReader(nil)); err == nil {
		t.Error("no randomness, but an id")
	}
}

func TestMessageGoesThrough(t *testing.T) {
	for _, size := range []int{0, 10, maxBuffered - 300, maxBuffered, 3*maxBuffered + 1} {
		q := newQueue(t)
		message := strings.Repeat("0123456789abcde\r\n", size/17+1)[:size]
		id := put(t, q, message)
		if err := q.Take(id); err != nil {
			t.Fatal(err)
		}
		m, err := q.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		if m.Envelope.Size != int64(size) || m.Envelope.Sender != "a@there.test" {
			t.Errorf("envelope %+v", m.Envelope)
		}
		for range 2 { // a second reader begins at the start
			if got, err := io.ReadAll(m.Reader()); err != nil || string(got) != message {
				t.Errorf("size %d: read %d octets, %v", size, len(got), err)
			}
		}
		m.Close()
		if err := q.Finish(id, false); err != nil || len(ls(t, q, InQueue)) > 0 {
			t.Errorf("finish: %v", err)
		}
	}
}

func TestSmallMessageIsOneFlush(t *testing.T) {
	q := newQueue(t)
	var steps []commit.Step
	q.disk.Hook = func(s commit.Step, _ string) error { steps = append(steps, s); return nil }
	id := put(t, q, text)
	if err := q.Take(id); err != nil {
		t.Fatal(err)
	}
	if err := q.Finish(id, false); err != nil {
		t.Fatal(err)
	}
	want := []commit.Step{commit.StepCreate, commit.StepRename, commit.StepSync, commit.StepRename, commit.StepRemove}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
}

func TestMake(t *testing.T) {
	q := OpenQueue(filepath.Join(t.TempDir(), "spool"), new(commit.Disk))
	for range 2 { // the second time changes nothing
		if err := q.Make(); err != nil {
			t.Fatal(err)
		}
	}
	id := put(t, q, text)
	for path, want := range map[string]os.FileMode{"drop/new": os.ModeDir | dropMode, "drop/tmp": os.ModeDir | dropMode, "queue": os.ModeDir | 0o700, "drop/new/" + id: 0o640} {
		info, err := os.Stat(filepath.Join(q.dir, path))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, want %v", path, info.Mode(), want)
		}
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	q := newQueue(t)
	for _, size := range []int{10, 2 * maxBuffered} {
		w, err := q.Drop().Create(letter(newID(t)))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, size))
		w.Abort()
		w.Abort()
		if _, err := w.Write([]byte("x")); err == nil || w.Commit() == nil {
			t.Error("an aborted message goes on")
		}
	}
	if n := len(ls(t, q, inTmp)) + len(ls(t, q, InDrop)); n > 0 {
		t.Errorf("%d files are left", n)
	}
}

// Whatever step fails, the caller gets a temporary status and nothing is left.
func TestFailingCommit(t *testing.T) {
	for _, bad := range []commit.Step{commit.StepCreate, commit.StepRename, commit.StepSync} {
		for _, size := range []int{10, 2 * maxBuffered} {
			q := newQueue(t)
			q.disk.Hook = func(s commit.Step, _ string) error {
				if s == bad {
					return errors.New("injected")
				}
				return nil
			}
			w, err := q.Drop().Create(letter(newID(t)))
			if err != nil {
				t.Fatal(err)
			}
			w.Write(make([]byte, size))
			err = w.Commit()
			var st *status.Error
			if !errors.As(err, &st) || !st.Temporary() {
				t.Errorf("%s: %v", bad, err)
			}
			if n := len(ls(t, q, inTmp)) + len(ls(t, q, InDrop)); n > 0 {
				t.Errorf("%s: %d files are left", bad, n)
			}
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	q := newQueue(t)
	e := letter("../x")
	if _, err := q.Drop().Create(e); err == nil {
		t.Error("a bad id was taken")
	}
	e = letter(newID(t))
	e.Sender = "a@b\r\n"
	if _, err := q.Drop().Create(e); err == nil {
		t.Error("a bad envelope was taken")
	}
}

func TestRoom(t *testing.T) {
	q := newQueue(t)
	d := q.Drop()
	if err := d.Room(0); err != nil {
		t.Skipf("the disk of the test is full: %v", err)
	}
	var st *status.Error
	if err := d.Room(1 << 60); !errors.As(err, &st) || st.Code != 452 || st.Enhanced != "4.3.1" {
		t.Errorf("2⁶⁰ octets: %v", err)
	}
	if err := OpenDrop("/nonexistent", new(commit.Disk)).Room(0); !errors.As(err, &st) || st.Code != 451 {
		t.Errorf("no drop: %v", err)
	}
}

// Every cut and every flipped bit of a queue file is noticed, before anything
// of it could be delivered whole.
func TestEveryFlipAndCutIsCorrupt(t *testing.T) {
	q := newQueue(t)
	id := put(t, q, text)
	if err := q.Take(id); err != nil {
		t.Fatal(err)
	}
	path := q.path(InQueue, id)
	good, _ := os.ReadFile(path)
	check := func(what string, data []byte) {
		t.Helper()
		os.WriteFile(path, data, 0o640)
		m, err := q.Open(id)
		if err == nil {
			m.Close()
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range good {
		check(fmt.Sprintf("cut at %d", n), good[:n])
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[n] ^= 1 << bit
			check(fmt.Sprintf("bit %d of octet %d", bit, n), bad)
		}
	}
	check("grown", append(bytes.Clone(good), 'x'))
	check("empty", nil)
}

func TestALargeMessageIsCheckedWhileItIsRead(t *testing.T) {
	q := newQueue(t)
	id := put(t, q, strings.Repeat("x", 3*maxBuffered))
	q.Take(id)
	data, _ := os.ReadFile(q.path(InQueue, id))
	data[2*maxBuffered] ^= 4
	os.WriteFile(q.path(InQueue, id), data, 0o640)
	m, err := q.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := io.ReadAll(m.Reader())
	if !errors.Is(err, ErrCorrupt) || len(got) >= 3*maxBuffered {
		t.Errorf("read %d octets, %v", len(got), err)
	}
}

func TestWrongName(t *testing.T) {
	q := newQueue(t)
	id, other := put(t, q, text), newID(t)
	os.Rename(q.path(InDrop, id), q.path(InQueue, other))
	if _, err := q.Open(other); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file under another's name: %v", err)
	}
}

func TestTakeDoesNotOverwrite(t *testing.T) {
	q := newQueue(t)
	id := put(t, q, text)
	if err := q.Take(id); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(q.path(InDrop, id), []byte("evil"), 0o640)
	if err := q.Take(id); !errors.Is(err, ErrCorrupt) {
		t.Errorf("take: %v", err)
	}
	if m, err := q.Open(id); err != nil {
		t.Errorf("the first message: %v", err)
	} else {
		m.Close()
	}
	if got := ls(t, q, InCorrupt); !slices.Equal(got, []string{id}) {
		t.Errorf("corrupt has %q", got)
	}
	os.WriteFile(q.path(InDrop, id), []byte("evil again"), 0o640)
	q.Take(id)
	if got := ls(t, q, InCorrupt); !slices.Equal(got, []string{id, id + ".1"}) {
		t.Errorf("corrupt has %q", got)
	}
	if err := q.Take(newID(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("take of nothing: %v", err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	q := newQueue(t)
	l, err := q.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenQueue(q.dir, q.disk).Lock(); err == nil {
		t.Error("a second lock")
	}
	l.Close()
	if l, err = q.Lock(); err != nil {
		t.Errorf("after the first: %v", err)
	}
	l.Close()
}

func TestSweep(t *testing.T) {
	q := newQueue(t)
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 37 * time.Hour, "new": 35 * time.Hour} {
		path := q.path(inTmp, name)
		os.WriteFile(path, nil, 0o600)
		os.Chtimes(path, now.Add(-age), now.Add(-age))
	}
	if n, err := q.Sweep(now); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if got := ls(t, q, inTmp); !slices.Equal(got, []string{"new"}) {
		t.Errorf("left %q", got)
	}
}

func TestFlushRequest(t *testing.T) {
	q := newQueue(t)
	for range 2 {
		if err := q.Drop().Flush(); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := q.Dropped()
	if len(list) != 1 || !q.TakeFlush(list[0]) || q.TakeFlush(list[0]) {
		t.Errorf("dropped %q", list)
	}
}

func TestAdmin(t *testing.T) {
	q := newQueue(t)
	id := put(t, q, text)
	q.Take(id)
	done := record("b@here.test", Delivered)
	if err := q.Record(id, done); err != nil {
		t.Fatal(err)
	}
	m, _ := q.Open(id)
	for name, verb := range map[string]func(string) error{"hold": q.Hold, "requeue": q.Requeue, "remove": q.Remove} {
		if err := verb(id); !errors.Is(err, ErrBusy) {
			t.Errorf("%s of a message that is being delivered: %v", name, err)
		}
	}
	m.Close()
	where := func() string {
		e, err := q.Find(id)
		if err != nil {
			return err.Error()
		}
		if len(e.Records) != 1 || e.Envelope == nil {
			t.Errorf("in %s: %+v", e.Place, e)
		}
		return string(e.Place)
	}
	steps := []struct {
		verb func(string) error
		want Place
	}{{q.Hold, InHold}, {q.Release, InDrop}, {q.Take, InQueue}, {q.Requeue, InDrop}, {q.Hold, InHold}, {q.Requeue, InDrop}, {q.Take, InQueue}, {q.Corrupt, InCorrupt}, {q.Requeue, InDrop}}
	for i, s := range steps {
		if err := s.verb(id); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if got := where(); got != string(s.want) {
			t.Fatalf("step %d: in %s, want %s", i, got, s.want)
		}
	}
	if err := q.Release(id); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("release of what is not held: %v", err)
	}
	if err := q.Remove(id); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Place{InDrop, InQueue, InHold, InCorrupt} {
		if got := ls(t, q, p); len(got) > 0 {
			t.Errorf("%s has %q", p, got)
		}
	}
	if err := q.Remove("../../etc"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("remove of a path: %v", err)
	}
}

func TestList(t *testing.T) {
	q := newQueue(t)
	first, second, third := put(t, q, text), put(t, q, strings.Repeat("y", 9000)), put(t, q, text)
	q.Take(first)
	q.Take(second)
	q.Hold(second)
	os.WriteFile(q.path(InCorrupt, "rubbish"), []byte("?"), 0o600)
	var got []string
	for e, err := range q.List() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.Place, " ", e.ID, " ", e.Err == nil))
	}
	want := []string{"drop/new " + third + " true", "queue " + first + " true", "hold " + second + " true", "corrupt rubbish false"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	m, err := q.Read(second)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if data, err := io.ReadAll(m.Reader()); err != nil || len(data) != 9000 {
		t.Errorf("%d octets, %v", len(data), err)
	}
}

func record(final string, a Action) Record {
	r := Record{Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Action: a, Status: "2.0.0", Original: "b@here.test", Final: final, Host: "local", Reply: "250 2.0.0 ok"}
	if a == Delayed {
		r.Status, r.Next = "4.2.0", r.Time.Add(5*time.Minute)
	}
	return r
}

func TestJournalLine(t *testing.T) {
	r := Record{Time: time.Date(2026, 11, 22, 19, 0, 0, 5, time.FixedZone("", 3600)), Action: Delayed, Status: "4.4.1", Original: "a b@x", Final: "-",
		Host: "", Next: time.Date(2026, 11, 22, 19, 5, 0, 0, time.UTC), Reply: "450\r\nforged  line\x00\x1b[2J \xff"}
	line := string(AppendRecord(nil, &r))
	if want := "2026-11-22T18:00:00Z delayed 4.4.1 a+20b@x +2D - 2026-11-22T19:05:00Z 450  forged  line  [2J ?\n"; line[9:] != want {
		t.Errorf("got  %q\nwant %q", line[9:], want)
	}
	if strings.Count(line, "\n") != 1 {
		t.Error("not one line")
	}
}

func TestJournalState(t *testing.T) {
	q := newQueue(t)
	id := put(t, q, text)
	q.Take(id)
	first := []Record{record("b@here.test", Delayed), record("c@here.test", Delivered)}
	second := record("b@here.test", Delayed)
	second.Time = second.Time.Add(5 * time.Minute)
	second.Next = second.Time.Add(10 * time.Minute)
	if err := errors.Join(q.Record(id, first...), q.Record(id, second)); err != nil {
		t.Fatal(err)
	}
	records, err := q.Journal(id)
	if err != nil || !reflect.DeepEqual(records, append(first, second)) {
		t.Fatalf("%+v, %v", records, err)
	}
	s := Fold(records)
	if s.Attempts != 2 || !s.Next.Equal(second.Next) || !s.Finals["c@here.test"] || s.Finals["b@here.test"] {
		t.Errorf("state %+v", s)
	}
}

// A torn record at the end is as if it had never been written; the next one
// does not suffer from it.
func TestTornJournal(t *testing.T) {
	q := newQueue(t)
	id := put(t, q, text)
	q.Take(id)
	path := q.path(InQueue, id+logSuffix)
	one, two := record("b@here.test", Delivered), record("c@here.test", Delivered)
	line := AppendRecord(AppendRecord(nil, &one), &two)
	whole := len(AppendRecord(nil, &one))
	for n := whole; n < len(line); n++ {
		os.WriteFile(path, line[:n], 0o600)
		if records, err := q.Journal(id); err != nil || len(records) != 1 {
			t.Fatalf("cut at %d: %d records, %v", n, len(records), err)
		}
		if err := q.Record(id, two); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, line) {
			t.Fatalf("cut at %d: the journal is\n%s", n, got)
		}
	}
}

// Every flipped bit of a journal is noticed, but for the line feed at its end,
// without which the last record is torn.
func TestFlippedJournal(t *testing.T) {
	one, two := record("b@here.test", Delivered), record("c@here.test", Delayed)
	good := AppendRecord(AppendRecord(nil, &one), &two)
	for n := range len(good) - 1 {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[n] ^= 1 << bit
			if records, _, err := ParseJournal(bad); !errors.Is(err, ErrJournal) {
				t.Errorf("bit %d of octet %d: %d records, %v", bit, n, len(records), err)
			}
		}
	}
}

// FuzzJournal: what is read is written back as it was.
func FuzzJournal(f *testing.F) {
	one, two := record("b@here.test", Delivered), record("c@here.test", Delayed)
	f.Add(AppendRecord(AppendRecord(nil, &one), &two))
	f.Add([]byte("00000000 x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, whole, err := ParseJournal(data)
		if err != nil {
			return
		}
		var again []byte
		for i := range records {
			again = AppendRecord(again, &records[i])
		}
		if !bytes.Equal(again, data[:whole]) {
			t.Fatalf("%q became %q", data[:whole], again)
		}
		Fold(records)
	})
}

// FuzzRecord: whatever a remote host says is one line, and is read back.
func FuzzRecord(f *testing.F) {
	f.Add("250 ok\r\nfake", "a@b", "c d@e", "h")
	f.Fuzz(func(t *testing.T, reply, original, final, host string) {
		r := record(final, Failed)
		r.Original, r.Reply, r.Host = original, reply, host
		line := AppendRecord(nil, &r)
		records, whole, err := ParseJournal(line)
		if err != nil || len(records) != 1 || whole != int64(len(line)) {
			t.Fatalf("%q: %v", line, err)
		}
		if got := records[0]; got.Original != original || got.Final != final || got.Host != host || len(got.Reply) > maxReply {
			t.Fatalf("%+v became %+v", r, got)
		}
	})
}

// FuzzID: only what NewID makes is valid.
func FuzzID(f *testing.F) {
	f.Add(int64(1790000000000000), []byte("0123456789ab"))
	f.Fuzz(func(t *testing.T, us int64, random []byte) {
		if us < 0 || us >= 1<<55 || len(random) < 12 {
			t.Skip()
		}
		id, err := NewID(time.UnixMicro(us), bytes.NewReader(random))
		if err != nil || !ValidID(id) || Arrived(id).UnixMicro() != us {
			t.Fatalf("%q, %v", id, err)
		}
	})
}

// A journal that a crash left empty is one: it goes with its message.
func TestAnEmptyJournalIsThere(t *testing.T) {
	q := OpenQueue(t.TempDir(), new(commit.Disk))
	if err := q.Make(); err != nil {
		t.Fatal(err)
	}
	if records, err := q.Journal("x"); records != nil || err != nil {
		t.Errorf("without a journal: %v, %v", records, err)
	}
	if err := os.WriteFile(q.path(inQueue, "x"+logSuffix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if records, err := q.Journal("x"); records == nil || len(records) > 0 || err != nil {
		t.Errorf("with an empty one: %v, %v", records, err)
	}
}
