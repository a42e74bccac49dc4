package corpus

import (
	"bytes"
	"testing"
)

func TestCorpusIsWhatItSays(t *testing.T) {
	n := 0
	seen := map[string]bool{}
	for m := range Messages() {
		n++
		bare := bytes.ReplaceAll(m.Text, []byte("\r\n"), nil)
		if bytes.ContainsAny(bare, "\r\n\x00") || !bytes.HasSuffix(m.Text, []byte("\r\n")) {
			t.Errorf("%s is not in wire form", m.Name)
		}
		seen[string(m.Text)] = true
	}
	if n < 300 || len(seen) < 250 {
		t.Errorf("%d messages, %d different ones", n, len(seen))
	}
}

func TestCorpusIsTheSameEachTime(t *testing.T) {
	first := map[string][]byte{}
	for m := range Messages() {
		if len(m.Text) < 1<<20 {
			first[m.Name] = m.Text
		}
	}
	for m := range Messages() {
		if was, ok := first[m.Name]; ok && !bytes.Equal(was, m.Text) {
			t.Errorf("%s differs", m.Name)
		}
	}
}
