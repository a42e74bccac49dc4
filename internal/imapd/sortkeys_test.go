package imapd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"peyk/internal/mailbox"
)

// sortLetter is one of 80 messages in threads of three, its date counted
// from a day on.
func sortLetter(i, day int) string {
	return fmt.Sprintf("From: p%d@x.example\nSubject: Re: topic %d\nMessage-ID: <%d@x>\nReferences: <%d@x>\nDate: %d Mar 2020 10:%02d:00 +0000\n\nx\n",
		i%7, i%11, i, i-i%3, (i*7+day)%28+1, i%60)
}

// What SORT and THREAD made of messages is kept in the folder: the next
// process sorts alike, and looks only at what is new.
func TestSortKeysOutliveAProcess(t *testing.T) {
	var texts []string
	for i := range 80 {
		texts = append(texts, sortLetter(i, 0))
	}
	o := newIndexed(t, texts...)
	o.TextIndex = false
	sorted := func() []string {
		var lines []string
		in := "a SELECT INBOX\r\nb SORT (DATE) UTF-8 ALL\r\nb SORT (SUBJECT REVERSE FROM) UTF-8 ALL\r\nb THREAD REFERENCES UTF-8 ALL\r\nb THREAD REFS UTF-8 ALL\r\nc LOGOUT\r\n"
		for line := range strings.Lines(string(talk(o, []byte(in)))) {
			if strings.HasPrefix(line, "* SORT") || strings.HasPrefix(line, "* THREAD") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	first := sorted()
	for i, file := range sortFiles(t, o.Preauth) {
		if err := os.WriteFile(file, []byte(sortLetter(i, 9)), 0o600); err != nil { // no program may do that
			t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(o.Preauth, "peyk-facts"))
	if again := sorted(); len(again) != 4 || !slices.Equal(again, first) {
		t.Errorf("the next process sorts\n%s, the first one\n%s", again, first)
	}
	errs := o.Host.Deliver([]mailbox.Target{{Root: o.Preauth}}, func(w io.Writer) error {
		_, err := io.WriteString(w, "Subject: topic zero\nDate: 1 Jan 1999 00:00:00 +0000\n\n")
		return err
	})
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	if got, want := sorted()[0], strings.Replace(first[0], "* SORT ", "* SORT 81 ", 1); got != want {
		t.Errorf("with an old message at the end %q, want %q", got, want)
	}
	a, err := o.Host.Open(o.Preauth)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.DropCaches(); err != nil {
		t.Fatal(err)
	}
	if fresh := sorted(); fresh[0] == first[0] {
		t.Error("the test cannot tell what is kept from what is made anew")
	}
}

// sortFiles are the files of a mailbox as they were delivered.
func sortFiles(t *testing.T, root string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "cur", "*"))
	if err != nil || len(files) != 80 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}
