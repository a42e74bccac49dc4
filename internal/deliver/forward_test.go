package deliver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/status"
)

func TestParseForward(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "[]",
		"# only a comment\n\n  # another\n":      "[]",
		"bob":                                    "[{0 bob []}]",
		"bob@far.test, carol@far.test\ndave":     "[{0 bob@far.test []} {0 carol@far.test []} {0 dave []}]",
		`\alice, "\alice"`:                       "[{1 alice []} {1 alice []}]",
		"/home/a/mbox,\t/home/a/old/":            "[{2 /home/a/mbox []} {3 /home/a/old/ []}]",
		`"/home/a/with, comma"`:                  "[{2 /home/a/with, comma []}]",
		`"john doe"@far.test`:                    `[{0 "john doe"@far.test []}]`,
		`|/bin/prog`:                             "[{4  [/bin/prog]}]",
		`"|/bin/prog -a 'two words' \"x\"", bob`: `[{4  [/bin/prog -a two words x]} {0 bob []}]`,
		`|"/bin/prog -a"`:                        "[{4  [/bin/prog -a]}]",
		":include:/home/a/more":                  "[{5 /home/a/more []}]",
		"bob\r\ncarol\r\n":                       "[{0 bob []} {0 carol []}]",
		",,bob,,":                                "[{0 bob []}]",
	} {
		got, err := parseForward(text)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: got %v, %v; want %s", text, got, err, want)
		}
	}
}

func TestParseForwardRefusesWhatItCannotUnderstand(t *testing.T) {
	for _, text := range []string{
		`"open`, ":fail: go away", ":blackhole:", "bob carol", "a\x00b", "a\rb@x", `\`, "|", `"|"`, `|"/bin/a`,
		"|/bin/a | /bin/b", "|/bin/a; rm x", "|/bin/a > x", "|/bin/a $HOME", "|/bin/a `b`", "|exec /bin/a || exit 75", "|'open",
		strings.Repeat("bob,", maxEntries+1),
	} {
		if got, err := parseForward(text); err == nil {
			t.Errorf("%.40q: understood as %v", text, got)
		}
	}
}

func FuzzParseForward(f *testing.F) {
	for _, seed := range []string{"bob, \\alice\n# x\n", `"|/bin/p 'a b' \"c\""`, ":include:/x\n/a/b/", `"a\"b"@x, "/a,b"`, "|a\\ b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseForward(text)
		if err != nil {
			return
		}
		if len(entries) > maxEntries {
			t.Fatalf("%d entries", len(entries))
		}
		var again []string
		for _, e := range entries {
			if (e.kind == toProgram) != (len(e.args) > 0) || e.kind != toProgram && e.kind != toInclude && e.text == "" {
				t.Fatalf("odd entry %v", e)
			}
			if e.kind != toFile && e.kind != toMaildir {
				continue
			}
			again = append(again, quote(e.text))
		}
		// Paths survive being written again.
		back, err := parseForward(strings.Join(again, "\n"))
		if err != nil || len(back) != len(again) {
			t.Fatalf("%q: %v, %v", again, back, err)
		}
		for i := range back {
			if quote(back[i].text) != again[i] {
				t.Fatalf("%q became %q", again[i], back[i].text)
			}
		}
	})
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func TestForwardToAddresses(t *testing.T) {
	h := newHouse(t, "alice", "bob")
	h.forward("alice", "bob, Far@Away.test\nfar@away.test, bob@x.test\n")
	if got := codes(h.deliver("Return-Path: <old>\r\n"+hello, "alice@x.test", "bob@x.test")); got != "ok ok" {
		t.Fatal(got)
	}
	if len(h.inbox("alice")) != 0 || len(h.inbox("bob")) != 1 || len(h.queue.sent) != 1 {
		t.Fatal(h.inbox("alice"), h.inbox("bob"), len(h.queue.sent))
	}
	l := h.queue.sent[0]
	var to []string
	for _, r := range l.e.Recipients {
		to = append(to, r.Address+" "+r.ORcpt)
	}
	if got := strings.Join(to, ","); l.e.Sender != "s@far.test" || got != "bob@x.test rfc822;o@far.test,Far@away.test rfc822;o@far.test,far@away.test rfc822;o@far.test" {
		t.Errorf("from %s to %s", l.e.Sender, got)
	}
	text := l.String()
	if !strings.HasPrefix(text, "Received: by here.test (Peyk) with LMTP id NEWID1") ||
		!strings.HasSuffix(text, "\r\nDelivered-To: alice@x.test\r\nReturn-Path: <old>\r\nSubject: x\r\n\r\nbody\r\n") {
		t.Errorf("message %q", text)
	}
	// The copy that comes back to alice is a loop.
	if got := codes(h.deliver(text, "alice@x.test")); got != "5.4.6" {
		t.Errorf("came back: %s", got)
	}
}

func TestForwardKeepsACopy(t *testing.T) {
	for _, text := range []string{`\alice, far@away.test`, "alice\nfar@away.test", "far@away.test, ALICE@x.test", `"\alice", \alice, alice, far@away.test`} {
		h := newHouse(t, "alice")
		h.forward("alice", text)
		if got := codes(h.deliver(hello, "alice@x.test")); got != "ok" || len(h.inbox("alice")) != 1 || len(h.queue.sent) != 1 {
			t.Errorf("%q: %s, %d kept, %d sent", text, got, len(h.inbox("alice")), len(h.queue.sent))
		}
	}
}

func TestForwardOfManyHopsIsALoop(t *testing.T) {
	h := newHouse(t, "alice")
	h.forward("alice", "far@away.test")
	message := strings.Repeat("Received: x\r\n", 51) + hello
	if got := codes(h.deliver(message, "alice@x.test")); got != "5.4.6" || len(h.queue.sent) != 0 {
		t.Error(got)
	}
}

func TestForwardToFiles(t *testing.T) {
	h := newHouse(t, "alice")
	h.forward("alice", h.home("alice", "mbox")+"\n"+h.home("alice", "Old")+"/\n")
	h.write(h.home("alice", "mbox"), "half a line", 0o600)
	message := "Subject: x\r\n\r\nFrom me\r\n>>From you\r\n>Fro\r\nno end"
	if got := codes(h.deliver(message, "alice@x.test")); got != "ok" {
		t.Fatal(got)
	}
	if got := codes(h.deliver(message, "alice@x.test")); got != "ok" {
		t.Fatal(got)
	}
	b, _ := os.ReadFile(h.home("alice", "mbox"))
	one := "Return-Path: <s@far.test>\nDelivered-To: alice@x.test\nSubject: x\n\n>From me\n>>>From you\n>Fro\nno end\n\n"
	parts := strings.SplitAfterN(string(b), "\n", 3)
	if parts[0] != "half a line\n" || !strings.HasPrefix(parts[1], "From s@far.test  ") || !strings.HasPrefix(parts[2], one+"From s@far.test  ") ||
		!strings.HasSuffix(parts[2], "\n"+one) {
		t.Errorf("mbox %q", b)
	}
	if n := len(h.mail(h.home("alice", "Old"))); n != 2 {
		t.Errorf("Maildir has %d messages", n)
	}
	if len(h.inbox("alice")) != 0 {
		t.Error("a copy nobody asked for")
	}
	if left, _ := filepath.Glob(h.home("alice", "*.lock")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestMboxUnderManyWriters(t *testing.T) {
	h := newHouse(t, "alice")
	h.forward("alice", h.home("alice", "mbox"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := codes(h.deliver(hello, "alice@x.test")); got != "ok" {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	b, _ := os.ReadFile(h.home("alice", "mbox"))
	if n := strings.Count(string(b), "\nSubject: x\n\nbody\n\n"); n != 8 || strings.Count(string(b), "From s@") != 8 {
		t.Errorf("%d whole messages in %q", n, b)
	}
}

func TestMboxIsAsItWasAfterAFailure(t *testing.T) {
	h := newHouse(t, "alice")
	h.forward("alice", h.home("alice", "mbox"))
	h.write(h.home("alice", "mbox"), "From old\n\nold\n\n", 0o600)
	h.disk.Hook = func(s commit.Step, _ string) error {
		if s == commit.StepSync {
			return errors.New("injected")
		}
		return nil
	}
	if got := codes(h.deliver(hello, "alice@x.test")); got != "4.2.0" {
		t.Error(got)
	}
	if b, _ := os.ReadFile(h.home("alice", "mbox")); string(b) != "From old\n\nold\n\n" {
		t.Errorf("mbox %q", b)
	}
}

func TestAStaleLockFileIsRemoved(t *testing.T) {
	h := newHouse(t, "alice")
	h.forward("alice", h.home("alice", "mbox"))
	lock := h.home("alice", "mbox.lock")
	h.write(lock, "", 0o600)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	if got := codes(h.deliver(hello, "alice@x.test")); got != "ok" {
		t.Error(got)
	}
}

// A .forward file that cannot be trusted or understood defers, delivers
// nothing, and tells the network no path.
func TestABrokenForwardDefers(t *testing.T) {
	for name, prepare := range map[string]func(h *house){
		"group may write": func(h *house) { h.write(h.home("alice", ".forward"), "bob", 0o620) },
		"all may write":   func(h *house) { h.write(h.home("alice", ".forward"), "bob", 0o602) },
		"a directory":     func(h *house) { os.Mkdir(h.home("alice", ".forward"), 0o700) },
		"link outside":    func(h *house) { os.Symlink(h.home("bob", "x"), h.home("alice", ".forward")) },
		"dangling link":   func(h *house) { os.Symlink("nowhere", h.home("alice", ".forward")) },
		"too large":       func(h *house) { h.forward("alice", strings.Repeat("#\n", maxForward)) },
		"nonsense":        func(h *house) { h.forward("alice", ":x:") },
		"bad address":     func(h *house) { h.forward("alice", "bob@@x") },
		"file outside":    func(h *house) { h.forward("alice", h.home("bob", "mbox")) },
		"file by dots":    func(h *house) { h.forward("alice", h.home("alice")+"/../bob/mbox") },
		"file by link": func(h *house) {
			os.Symlink(h.home("bob"), h.home("alice", "b"))
			h.forward("alice", h.home("alice", "b/mbox"))
		},
		"Maildir outside": func(h *house) { h.forward("alice", h.home("bob", "Maildir")+"/") },
		"Maildir by link": func(h *house) {
			os.Symlink(h.home("bob"), h.home("alice", "b"))
			h.forward("alice", h.home("alice", "b/M/"))
		},
		"the home itself":  func(h *house) { h.forward("alice", h.home("alice")+"/") },
		"include outside":  func(h *house) { h.forward("alice", ":include:/etc/passwd") },
		"include missing":  func(h *house) { h.forward("alice", ":include:"+h.home("alice", "x")) },
		"includes itself":  func(h *house) { h.forward("alice", ":include:"+h.home("alice", ".forward")) },
		"program":          func(h *house) { h.forward("alice", "|/bin/true") },
		"file is a device": func(h *house) { os.Mkdir(h.home("alice", "d"), 0o700); h.forward("alice", h.home("alice", "d")) },
		"queue is down":    func(h *house) { h.queue.fail = errors.New("disk"); h.forward("alice", "far@away.test") },
	} {
		h := newHouse(t, "alice", "bob")
		h.write(h.home("bob", "x"), "far@away.test", 0o600)
		prepare(h)
		errs := h.deliver(hello, "alice@x.test")
		if errs[0] == nil || !status.Of(errs[0]).Temporary() {
			t.Errorf("%s: %v", name, errs[0])
			continue
		}
		if text := status.Of(errs[0]).Reply(); strings.Contains(text, h.dir) {
			t.Errorf("%s: a path in %q", name, text)
		}
		if _, err := os.Stat(h.home("bob", "mbox")); err == nil || len(h.queue.sent)+len(h.inbox("alice"))+len(h.inbox("bob")) != 0 {
			t.Errorf("%s: delivered all the same", name)
		}
	}
}

func TestForwardOfAStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	h := newHouse(t, "alice")
	h.forward("alice", "far@away.test")
	if err := os.Chown(h.home("alice", ".forward"), 4711, 4711); err != nil {
		t.Fatal(err)
	}
	if got := codes(h.deliver(hello, "alice@x.test")); got != "4.3.5" {
		t.Errorf("of a stranger: %s", got)
	}
	if err := os.Chown(h.home("alice"), 4711, 4711); err != nil {
		t.Fatal(err)
	}
	if got := codes(h.deliver(hello, "alice@x.test")); got != "ok" {
		t.Errorf("of the owner of the home: %s", got)
	}
}

func TestInclude(t *testing.T) {
	h := newHouse(t, "alice")
	h.forward("alice", "\\alice\n:include:"+h.home("alice", "more"))
	h.write(h.home("alice", "more"), "a@far.test\nb@far.test", 0o644)
	if got := codes(h.deliver(hello, "alice@x.test")); got != "ok" || len(h.queue.sent) != 1 || len(h.queue.sent[0].e.Recipients) != 2 {
		t.Error(got)
	}
}

// script writes a program that a .forward file can run.
func (h *house) script(name, text string) string {
	path := h.home("alice", name)
	h.write(path, "#!/bin/sh\n"+text, 0o700)
	return path
}

func (h *house) allowPipes(limit time.Duration) {
	p := *h.agent.policy()
	p.Pipes, p.PipeTime = true, limit
	h.agent.SetPolicy(p)
}

func TestProgramGetsTheMessage(t *testing.T) {
	h := newHouse(t, "alice")
	h.allowPipes(time.Minute)
	out := h.home("alice", "out")
	prog := h.script("prog", `{ cat; echo "$# $1 $2"; echo "$SENDER $RECIPIENT $EXTENSION $PWD"; env | grep -c .; } > out`)
	h.forward("alice", `"|`+prog+` 'one word' ;x"`)
	if got := codes(h.deliver(hello, "alice+ext@x.test")); got != "4.3.5" { // ; is the shell's
		t.Errorf("with a shell's character: %s", got)
	}
	h.forward("alice", `"|`+prog+` 'one $(touch pwned) word' two"`)
	if got := codes(h.deliver(hello, "alice+ext@x.test")); got != "ok" {
		t.Fatal(got)
	}
	b, _ := os.ReadFile(out)
	want := "Return-Path: <s@far.test>\nDelivered-To: alice+ext@x.test\nSubject: x\n\nbody\n2 one $(touch pwned) word two\ns@far.test alice+ext@x.test ext " + h.home("alice") + "\n"
	if !strings.HasPrefix(string(b), want) {
		t.Errorf("got %q, want %q", b, want)
	}
	if _, err := os.Stat(h.home("alice", "pwned")); err == nil {
		t.Error("a shell was run")
	}
}

func TestExitStatusOfAProgram(t *testing.T) {
	h := newHouse(t, "alice")
	h.allowPipes(time.Minute)
	for exit, want := range map[int]string{0: "ok", 67: "5.1.1", 69: "5.3.0", 73: "5.2.2", 77: "5.7.1", 75: "4.3.0", 78: "4.3.0", 1: "4.3.0", 127: "4.3.0"} {
		h.forward("alice", "|"+h.script("prog", fmt.Sprint("exit ", exit)))
		if got := codes(h.deliver(hello, "alice@x.test")); got != want {
			t.Errorf("exit %d: %s, want %s", exit, got, want)
		}
	}
	h.forward("alice", "|/nonexistent/program")
	if got := codes(h.deliver(hello, "alice@x.test")); got != "4.3.0" {
		t.Errorf("no such program: %s", got)
	}
	h.forward("alice", "|true")
	if got := codes(h.deliver(hello+strings.Repeat("x\r\n", 100000), "alice@x.test")); got != "ok" {
		t.Errorf("a program that does not read: %s", got)
	}
}

func TestAProgramThatHangsIsKilled(t *testing.T) {
	h := newHouse(t, "alice")
	h.allowPipes(100 * time.Millisecond)
	h.forward("alice", "|"+h.script("prog", "sleep 1000 & sleep 1000"))
	done := make(chan string)
	go func() { done <- codes(h.deliver(hello+strings.Repeat("x\r\n", 100000), "alice@x.test")) }()
	select {
	case got := <-done:
		if got != "4.3.0" {
			t.Error(got)
		}
	case <-time.After(time.Minute):
		t.Fatal("it still runs")
	}
}

// A program that fails must not keep the others from the message, and what
// fails for good is reported.
func TestOneOfSeveralFails(t *testing.T) {
	h := newHouse(t, "alice")
	h.allowPipes(time.Minute)
	h.forward("alice", "|"+h.script("prog", "exit 67")+"\n\\alice")
	if got := codes(h.deliver(hello, "alice@x.test")); got != "5.1.1" || len(h.inbox("alice")) != 1 {
		t.Errorf("%s, %d kept", got, len(h.inbox("alice")))
	}
}

func TestALargeMessageIsForwardedWhole(t *testing.T) {
	h := newHouse(t, "alice")
	h.forward("alice", "\\alice, far@away.test")
	body := strings.Repeat("0123456789abcdef\r\n", 20000)
	if got := codes(h.deliver("Subject: x\r\n\r\n"+body, "alice@x.test")); got != "ok" {
		t.Fatal(got)
	}
	if !strings.HasSuffix(h.queue.sent[0].String(), "\r\n\r\n"+body) {
		t.Error("what was forwarded is not what came")
	}
	if got := h.inbox("alice")[0]; !strings.HasSuffix(got, "\n\n"+strings.ReplaceAll(body, "\r\n", "\n")) {
		t.Error("what was kept is not what came")
	}
}
