package deliver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/dovecotauth"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/mailbox"
	"peyk/internal/status"
	"peyk/internal/sysexits"
)

// people is a Users: each has a home below dir.
type people struct {
	dir   string
	quota map[string]string
	fail  error
}

func (p people) Lookup(_ context.Context, _, name string) (dovecotauth.User, bool, error) {
	if p.fail != nil {
		return dovecotauth.User{}, false, p.fail
	}
	local, domain, _ := strings.Cut(name, "@")
	home := filepath.Join(p.dir, local)
	if info, err := os.Stat(home); domain != "x.test" || err != nil || !info.IsDir() {
		return dovecotauth.User{}, false, nil
	}
	refusal := map[string]string{"suspended": "450 4.2.1 this account is suspended", "mute": "550 5.2.1 this account takes no mail"}[local]
	return dovecotauth.User{Name: name, UID: -1, GID: -1, Home: home, Quota: p.quota[local],
		Fields: map[string]string{dovecotauth.FieldMail: refusal}}, true, nil
}

// letters is a Queue that keeps what it gets.
type letters struct {
	mu   sync.Mutex
	n    int
	sent []*letter
	fail error
}

type letter struct {
	bytes.Buffer
	e envelope.Envelope
	q *letters
}

func (q *letters) NewID() (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n++
	return fmt.Sprintf("NEWID%d", q.n), nil
}

func (q *letters) Create(e *envelope.Envelope) (Letter, error) {
	if q.fail != nil {
		return nil, q.fail
	}
	return &letter{e: *e, q: q}, nil
}

func (l *letter) Commit() error {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	l.q.sent = append(l.q.sent, l)
	return nil
}

func (l *letter) Abort() {}

// A house is an Agent with people living in it.
type house struct {
	t     testing.TB
	dir   string
	disk  *commit.Disk
	queue *letters
	agent *Agent
	users *people
}

func newHouse(t testing.TB, names ...string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), disk: new(commit.Disk), queue: new(letters)}
	h.users = &people{dir: h.dir, quota: map[string]string{}}
	for _, name := range names {
		if err := os.Mkdir(filepath.Join(h.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	host, err := mailbox.NewHost(mailbox.Options{Disk: h.disk, Now: time.Now, Rand: rand.Reader, Hostname: "here.test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	h.agent = New(Options{Users: h.users, Store: Maildirs{host}, Queue: h.queue, Disk: h.disk, Hostname: "here.test", Now: time.Now},
		Policy{Subaddress: "+", PipeTime: time.Minute, HopLimit: 50})
	return h
}

func (h *house) home(name string, elem ...string) string {
	return filepath.Join(append([]string{h.dir, name}, elem...)...)
}

func (h *house) write(path, text string, perm os.FileMode) {
	h.t.Helper()
	if err := os.WriteFile(path, []byte(text), perm); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(path, perm); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) forward(name, text string) { h.write(h.home(name, ".forward"), text, 0o600) }

// deliver hands a message over and returns an error for each recipient.
func (h *house) deliver(message string, rcpts ...string) []error {
	h.t.Helper()
	return h.deliverFrom(strings.NewReader(message), rcpts...)
}

func (h *house) deliverFrom(message io.Reader, rcpts ...string) []error {
	h.t.Helper()
	ctx := context.Background()
	t, err := h.agent.Begin(ctx, &lmtp.Mail{Sender: "s@far.test", Ident: "Q1", Peer: lmtp.Peer{Session: "1"}})
	if err != nil {
		h.t.Fatal(err)
	}
	defer t.End()
	errs := make([]error, len(rcpts))
	var at []int
	for i, r := range rcpts {
		errs[i] = t.Rcpt(ctx, envelope.Recipient{Address: r, ORcpt: "rfc822;o@far.test"})
		if errs[i] == nil {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return errs
	}
	for k, o := range t.Data(ctx, message, -1) {
		errs[at[k]] = o.Err
	}
	return errs
}

// mail returns the messages in new/ of a Maildir, and fails on anything that
// is left in tmp/.
func (h *house) mail(root string) []string {
	h.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(root, "tmp", "*")); len(left) > 0 {
		h.t.Errorf("left in tmp: %v", left)
	}
	var messages []string
	files, _ := filepath.Glob(filepath.Join(root, "new", "*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			h.t.Fatal(err)
		}
		messages = append(messages, string(b))
	}
	return messages
}

func (h *house) inbox(name string) []string { return h.mail(h.home(name, "Maildir")) }

const hello = "Subject: x\r\n\r\nbody\r\n"

func code(err error) string {
	if err == nil {
		return "ok"
	}
	return status.Of(err).Enhanced
}

func codes(errs []error) string {
	var all []string
	for _, err := range errs {
		all = append(all, code(err))
	}
	return strings.Join(all, " ")
}

func TestOneRecipientGetsReturnPathAndDeliveredTo(t *testing.T) {
	h := newHouse(t, "alice")
	if got := codes(h.deliver("Return-Path: <old@x.test>\r\nSubject: x\r\nreturn-path : <two>\r\n\r\nbody\r\n", "alice@x.test")); got != "ok" {
		t.Fatal(got)
	}
	want := "Return-Path: <s@far.test>\nDelivered-To: alice@x.test\nReturn-Path: <old@x.test>\nSubject: x\nreturn-path : <two>\n\nbody\n"
	if got := h.inbox("alice"); len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSeveralRecipientsShareOneFile(t *testing.T) {
	h := newHouse(t, "alice", "bob", "carol")
	got := codes(h.deliver(hello, "alice@x.test", "nobody@x.test", "bob@x.test", "carol@x.test", "alice+detail@x.test"))
	if got != "ok 5.1.1 ok ok ok" {
		t.Fatal(got)
	}
	var first os.FileInfo
	for _, name := range []string{"alice", "bob", "carol"} {
		if got := h.inbox(name); len(got) != 1 || got[0] != "Return-Path: <s@far.test>\nSubject: x\n\nbody\n" {
			t.Errorf("%s has %q", name, got)
			continue
		}
		files, _ := filepath.Glob(h.home(name, "Maildir/new/*"))
		info, _ := os.Stat(files[0])
		if first == nil {
			first = info
		}
		if !os.SameFile(first, info) {
			t.Errorf("%s has a copy, not a link", name)
		}
	}
}

func TestTheKthRecipientFails(t *testing.T) {
	h := newHouse(t, "alice", "bob", "carol")
	if err := os.Mkdir(h.home("bob", "Maildir"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write(h.home("bob", "Maildir", "new"), "not a directory", 0o600)
	if got := codes(h.deliver(hello, "alice@x.test", "bob@x.test", "carol@x.test")); got != "ok 4.3.0 ok" {
		t.Fatal(got)
	}
	if len(h.inbox("alice")) != 1 || len(h.inbox("carol")) != 1 {
		t.Error("the others did not get it")
	}
}

func TestALoopIsRefused(t *testing.T) {
	h := newHouse(t, "alice", "bob")
	got := codes(h.deliver("Delivered-To: ALICE@x.test\r\nDelivered-To: alice@y.test\r\n\r\n", "alice@x.test", "bob@x.test"))
	if got != "5.4.6 ok" {
		t.Error(got)
	}
	if len(h.inbox("alice")) != 0 {
		t.Error("delivered all the same")
	}
}

func TestSubaddressFolders(t *testing.T) {
	h := newHouse(t, "alice", "a+b")
	for _, dir := range []string{"Maildir", "Maildir/new", "Maildir/cur", "Maildir/tmp",
		"Maildir/.lists", "Maildir/.lists/new", "Maildir/.lists/cur", "Maildir/.lists/tmp"} {
		if err := os.Mkdir(h.home("alice", dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, detail := range []string{"lists", "none", "../../x", "a/b", ".", "..", "+", strings.Repeat("x", 50)} {
		if got := codes(h.deliver(hello, `"alice+`+detail+`"@x.test`)); got != "ok" {
			t.Errorf("detail %q: %s", detail, got)
		}
	}
	if n := len(h.mail(h.home("alice", "Maildir/.lists"))); n != 1 {
		t.Errorf("folder has %d messages, want 1", n)
	}
	if n := len(h.inbox("alice")); n != 7 {
		t.Errorf("inbox has %d messages, want 7", n)
	}
	if got := codes(h.deliver(hello, "a+b@x.test")); got != "ok" || len(h.inbox("a+b")) != 1 {
		t.Errorf("an account with the separator in its name: %s", got)
	}
	if left, _ := os.ReadDir(h.dir); len(left) != 2 {
		t.Errorf("something was made outside of the homes: %v", left)
	}
}

func TestQuota(t *testing.T) {
	h := newHouse(t, "alice", "bob")
	h.users.quota["alice"] = "*:storage=1K:messages=10"
	big := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 30)
	if got := codes(h.deliver(big, "alice@x.test", "bob@x.test")); got != "ok ok" {
		t.Fatal(got)
	}
	if got := codes(h.deliver(big, "alice@x.test", "bob@x.test")); got != "4.2.2 ok" {
		t.Errorf("full mailbox: %s", got)
	}
	p := *h.agent.policy()
	p.RefuseFull = true
	h.agent.SetPolicy(p)
	if got := codes(h.deliver(big, "alice@x.test")); got != "5.2.2" {
		t.Errorf("full mailbox with quota-exceeded=refuse: %s", got)
	}
	if n := len(h.inbox("alice")); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestAnUnreachableUserDatabaseDefers(t *testing.T) {
	h := newHouse(t, "alice")
	h.users.fail = errors.New("connection refused")
	if got := codes(h.deliver(hello, "alice@x.test")); got != "4.3.0" {
		t.Error(got)
	}
}

// brokenReader ends with an error after its text.
type brokenReader struct {
	r   io.Reader
	err error
}

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

// A message that the client does not finish is nowhere: in no mailbox, no
// temporary file, not forwarded.
func TestABrokenTransferLeavesNothing(t *testing.T) {
	for _, forward := range []string{"", "\\alice, other@far.test"} {
		h := newHouse(t, "alice", "bob")
		if forward != "" {
			h.forward("alice", forward)
		}
		for _, n := range []int{5, 500, 300000} {
			in := brokenReader{strings.NewReader("Subject: x\r\n\r\n" + strings.Repeat("x\r\n", n)), lmtp.ErrContent}
			if got := codes(h.deliverFrom(in, "alice@x.test", "bob@x.test")); strings.Contains(got, "ok") {
				t.Errorf("forward %q, %d lines: %s", forward, n, got)
			}
		}
		if len(h.inbox("alice"))+len(h.inbox("bob"))+len(h.queue.sent) != 0 {
			t.Errorf("forward %q: delivered", forward)
		}
	}
}

// Every step of publishing fails in turn: the answer is temporary, nothing is
// visible, nothing is left; and the next try succeeds.
func TestEveryDiskFailureIsTemporaryAndLeavesNothing(t *testing.T) {
	for _, rcpts := range [][]string{{"alice@x.test"}, {"alice@x.test", "bob@x.test"}} {
		for failing := 1; ; failing++ {
			h := newHouse(t, "alice", "bob")
			if got := codes(h.deliver(hello, "alice@x.test", "bob@x.test")); got != "ok ok" { // makes the Maildirs
				t.Fatal(got)
			}
			steps, bad := 0, ""
			var mu sync.Mutex
			h.disk.Hook = func(s commit.Step, _ string) error {
				mu.Lock()
				defer mu.Unlock()
				if steps++; steps == failing {
					bad = string(s)
					return errors.New("injected")
				}
				return nil
			}
			errs := h.deliver(hello, rcpts...)
			if bad == "" {
				break
			}
			for i, r := range rcpts {
				name, _, _ := strings.Cut(r, "@")
				n := len(h.inbox(name)) - 1
				if ok := errs[i] == nil; ok != (n == 1) {
					t.Errorf("step %d (%s): %s has %d messages after %v", failing, bad, r, n, errs[i])
				}
				if errs[i] != nil && !status.Of(errs[i]).Temporary() {
					t.Errorf("step %d (%s): %v is permanent", failing, bad, errs[i])
				}
			}
			h.disk.Hook = nil
			if got := codes(h.deliver(hello, rcpts[0])); got != "ok" {
				t.Errorf("step %d (%s): the next try: %s", failing, bad, got)
			}
		}
	}
}

func TestLetterbox(t *testing.T) {
	null, sender := "", "me@far.test"
	for _, c := range []struct {
		name, in string
		sender   *string
		rcpts    []string
		exit     int
		want     string
	}{
		{"lf and From line", "From a@b Thu Jan  1\nSubject: x\n\nFrom here\n.\n", &sender, []string{"alice@x.test"}, sysexits.OK,
			"Return-Path: <me@far.test>\nDelivered-To: alice@x.test\nSubject: x\n\nFrom here\n.\n"},
		{"crlf, null sender", hello, &null, []string{"alice@x.test"}, sysexits.OK, "Return-Path: <>\nDelivered-To: alice@x.test\nSubject: x\n\nbody\n"},
		{"sender of Return-Path", "Return-Path: <r@far.test>\n" + "Subject: x\n\nbody", nil, []string{"alice@x.test"}, sysexits.OK,
			"Return-Path: <r@far.test>\nDelivered-To: alice@x.test\nSubject: x\n\nbody"},
		{"nothing at all", "", nil, []string{"alice@x.test"}, sysexits.OK, "Return-Path: <>\nDelivered-To: alice@x.test\n"},
		{"only a From line", "From x", nil, []string{"alice@x.test"}, sysexits.OK, "Return-Path: <>\nDelivered-To: alice@x.test\n"},
		{"unknown", hello, nil, []string{"nobody@x.test"}, sysexits.NoUser, ""},
		{"bad address", hello, nil, []string{"a@b@c"}, sysexits.Usage, ""},
		{"too large", hello + strings.Repeat("x", 5000), nil, []string{"alice@x.test"}, sysexits.Unavailable, ""},
	} {
		h := newHouse(t, "alice")
		var words bytes.Buffer
		exit := h.agent.Letterbox(context.Background(), strings.NewReader(c.in), &words, c.sender, 4000, c.rcpts)
		if exit != c.exit || (exit != 0) != (words.Len() > 0) {
			t.Errorf("%s: exit %d, said %q", c.name, exit, &words)
		}
		if strings.Contains(words.String(), h.dir) {
			t.Errorf("%s: a path in %q", c.name, &words)
		}
		got := h.inbox("alice")
		if len(got) > 1 || strings.Join(got, "") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLetterboxPrefersTempFail(t *testing.T) {
	h := newHouse(t, "alice")
	h.forward("alice", ":nonsense:")
	exit := h.agent.Letterbox(context.Background(), strings.NewReader(hello), io.Discard, nil, 4000, []string{"nobody@x.test", "alice@x.test"})
	if exit != sysexits.TempFail {
		t.Errorf("exit %d", exit)
	}
}

// A disk that is full in the midst of a large message is logged as that, and
// not taken for a client that went away.
func TestADiskThatIsFullInTheMidst(t *testing.T) {
	h := newHouse(t, "alice")
	var log bytes.Buffer
	h.agent.o.Log = eventlog.New(&log, "deliver", eventlog.Logfmt, time.Now)
	h.agent.o.Store = fullStore{h.agent.o.Store}
	if err := h.deliver("Subject: x\r\n\r\n"+strings.Repeat("x\r\n", 100_000), "alice@x.test")[0]; status.Of(err).Code != 451 {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), "event=filing-deferred") || !strings.Contains(log.String(), "no space left") {
		t.Errorf("the log:\n%s", log.String())
	}
}

// fullStore has no room for large messages.
type fullStore struct{ Store }

func (fullStore) Deliver(targets []mailbox.Target, write func(io.Writer) error) []error {
	errs := make([]error, len(targets))
	for i := range errs {
		errs[i] = write(&fullDisk{left: 70_000})
	}
	return errs
}

type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}
