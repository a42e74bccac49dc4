package imapd

import (
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
)

// newIndexed is an account whose searches use a text index.
func newIndexed(t *testing.T, messages ...string) *Options {
	t.Helper()
	o := &Options{Host: newHost(t), Now: time.Now, Rand: rand.Reader, Limits: DefaultLimits(), Preauth: filepath.Join(t.TempDir(), "m"), Hostname: "h", TextIndex: true}
	for _, text := range messages {
		errs := o.Host.Deliver([]mailbox.Target{{Root: o.Preauth}}, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
	}
	return o
}

// fillNow waits until the indexer has done what it was asked for.
func fillNow(t *testing.T, o *Options) {
	t.Helper()
	x := &indexer{}
	if err := (indexJob{o, o.Preauth, "INBOX"}).fill(t.Context(), x); err != nil {
		t.Fatal(err)
	}
}

// answers returns the lines of SEARCH.
func answers(o *Options, keys ...string) (lines []string) {
	in := "a SELECT INBOX\r\n"
	for _, k := range keys {
		in += "b SEARCH " + k + "\r\n"
	}
	for line := range strings.Lines(string(talk(o, []byte(in+"c LOGOUT\r\n")))) {
		if strings.HasPrefix(line, "* SEARCH") || strings.HasPrefix(line, "b ") && !strings.HasPrefix(line, "b OK") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// TestSearchIsTheSameWithAnIndex: the index says which messages are read, not
// which match.
func TestSearchIsTheSameWithAnIndex(t *testing.T) {
	o := newIndexed(t, mixed, "Subject: brown fox\n\nthe quick dog\n", "Subject: x\n\nbrown\ncow\n", "Subject: nothing\n\n\n")
	keys := []string{"TEXT brown", "BODY brown", "NOT TEXT brown", "OR TEXT quick BODY cow", "TEXT \"\"", "TEXT br", "NOT (TEXT brown TEXT fox)", "BODY grusse", "TEXT grusse",
		"UNSEEN TEXT \"brown fox\"", "TEXT absent", "NOT BODY absent", "SUBJECT brown TEXT quick", "TEXT zzzz TEXT brown"}
	with := func(want []string) []string {
		t.Helper()
		o.TextIndex = false
		plain := answers(o, keys...)
		if want != nil && strings.Join(plain, "\n") != strings.Join(want, "\n") {
			t.Errorf("without the index:\n%q, want\n%q", plain, want)
		}
		o.TextIndex = true
		if got := answers(o, keys...); strings.Join(got, "\n") != strings.Join(plain, "\n") {
			t.Errorf("with the index:\n%q, without it\n%q", got, plain)
		}
		return plain
	}
	with([]string{"* SEARCH 2 3", "* SEARCH 3", "* SEARCH 1 4", "* SEARCH 2 3", "* SEARCH 1 2 3 4", "* SEARCH 2 3", "* SEARCH 1 3 4", "* SEARCH", "* SEARCH 1",
		"* SEARCH 2", "* SEARCH", "* SEARCH 1 2 3 4", "* SEARCH 2", "* SEARCH"})
	fillNow(t, o)
	with(nil)
	talk(o, []byte("a SELECT INBOX\r\nb STORE 2 +FLAGS (\\Deleted)\r\nc EXPUNGE\r\nd APPEND INBOX {22+}\r\nSubject: y\r\n\r\nbrown\r\n\r\ne LOGOUT\r\n"))
	with(nil)
	fillNow(t, o)
	with(nil)
}

// TestDamagedIndexIsDropped: a search finds all the same.
func TestDamagedIndexIsDropped(t *testing.T) {
	o := newIndexed(t, "Subject: brown\n\nfox\n")
	fillNow(t, o)
	path := filepath.Join(o.Preauth, "peyk-text")
	if err := os.WriteFile(path, []byte(strings.Repeat("damaged", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := answers(o, "TEXT brown"); len(got) != 1 || got[0] != "* SEARCH 1" {
		t.Errorf("%q", got)
	}
	fillNow(t, o)
	if got := answers(o, "TEXT brown", "TEXT absent"); len(got) != 2 || got[0] != "* SEARCH 1" || got[1] != "* SEARCH" {
		t.Errorf("%q", got)
	}
}

func TestIndexerStops(t *testing.T) {
	o := newIndexed(t, "\n\nx")
	x := &indexer{}
	for range 3 {
		x.add(indexJob{o, o.Preauth, "INBOX"})
		x.add(indexJob{o, o.Preauth, "no such folder"})
	}
	x.stop()
	x.add(indexJob{o, o.Preauth, "INBOX"})
	if x.running && len(x.jobs) > 0 {
		t.Error("it works after its end")
	}
}

// TestAPanicCostsOneJob: the process goes on, and so does the indexer.
func TestAPanicCostsOneJob(t *testing.T) {
	log := &logBuffer{make(chan string, 10)}
	o := &Options{Log: eventlog.New(log, "imapd", eventlog.Logfmt, time.Now)} // without a host there is nothing to open
	x := &indexer{}
	for _, root := range []string{"/one", "/two"} {
		x.add(indexJob{o, root, "INBOX"})
		x.done.Wait()
		if line := <-log.lines; !strings.Contains(line, "event=panic") || !strings.Contains(line, root) {
			t.Errorf("the log says %s", line)
		}
	}
	x.stop()
}
