package mailbox

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Another program that opens the account leaves alone what is being written,
// whatever its date.
func TestSweepLeavesAppendOfOldMail(t *testing.T) {
	h := newTestHost(t)
	g := openAccount(t, h, roots(t, 1)[0].Root)
	f, err := g.Folder(Inbox)
	must(t, err)
	defer f.Close()
	a := f.Begin()
	defer a.Abort()
	must(t, a.Add(NewMessage{Date: time.Unix(1_000_000_000, 0), Write: func(w io.Writer) error {
		_, err := io.WriteString(w, "Subject: old\r\n\r\nbody\r\n")
		return err
	}}))
	other, err := newTestHost(t).Open(g.Root())
	must(t, err)
	defer other.Close()
	if _, err := a.Commit(); err != nil {
		t.Errorf("the message was swept away: %v", err)
	}
}

// What a crash left goes 36 hours later, in every folder: files, folders half
// made or half removed, and temporary names beside other files.
func TestSweepRemovesWhatACrashLeft(t *testing.T) {
	h := newTestHost(t)
	g := openAccount(t, h, roots(t, 1)[0].Root)
	must(t, g.Create("sub", ""))
	var junk, stay []string
	for _, dir := range []string{g.Root(), g.Root() + "/.sub"} {
		half := filepath.Join(dir, "tmp", "1700000000.M1P1.trash")
		must(t, os.MkdirAll(half+"/cur", 0o700))
		for _, path := range []string{half + "/cur/message", dir + "/tmp/1700000000.M1P1.half", dir + "/.dovecot-keywords.77.0.tmp", dir + "/peyk-changes.1795414046.M298186P271Q70Rce55214e.mx.example.test"} {
			must(t, os.WriteFile(path, []byte("x"), 0o600))
		}
		junk = append(junk, half, dir+"/tmp/1700000000.M1P1.half", dir+"/.dovecot-keywords.77.0.tmp", dir+"/peyk-changes.1795414046.M298186P271Q70Rce55214e.mx.example.test")
		stay = append(stay, dir+"/cur", dir+"/tmp")
	}
	must(t, os.Mkdir(g.Root()+"/.x.1.2.tmp", 0o700)) // a folder may have such a name
	stay = append(stay, g.Root()+"/.x.1.2.tmp")
	look := func(age time.Duration) {
		t.Helper()
		h := newTestHost(t)
		h.locks.now = func() time.Time { return time.Now().Add(age) }
		a, err := h.Open(g.Root())
		must(t, err)
		defer a.Close()
		for _, name := range []string{Inbox, "sub"} {
			f, err := a.Folder(name)
			must(t, err)
			f.Close()
		}
	}
	exist := func(want bool, paths []string) {
		t.Helper()
		for _, path := range paths {
			if _, err := os.Lstat(path); (err == nil) != want {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	look(35 * time.Hour)
	exist(true, append(junk, stay...))
	look(37 * time.Hour)
	exist(false, junk)
	exist(true, stay)
}

// Of an append that was cut short the half line goes, and nothing else.
func TestCutTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), uidlistName)
	for text, want := range map[string]string{
		"3 V1 N5\n1 :a\n2 :b\n3 :": "3 V1 N5\n1 :a\n2 :b\n",
		"3 V1 N5\n1 :a\n2 ":        "3 V1 N5\n1 :a\n",
		"3 V1 N5\n1 :a\n2 :b\n":    "3 V1 N5\n1 :a\n2 :b\n",
	} {
		os.WriteFile(path, []byte(text), 0o600)
		file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		cutTorn(file, int64(len("2 :b\n3 :c\n")))
		file.Close()
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}
