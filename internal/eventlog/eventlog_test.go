package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func at() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }

func TestOneEventIsOneLine(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, "smtpd", Logfmt, at).With("session", "s1")
	l.Event(Connected, "client", "192.0.2.1", "empty", "", "error", errors.New(`evil "x"`+"\r\nevent=fake"), "rtl", "\u202etxt", "raw", "\xff\x1b[2J")
	want := `time=2026-11-22T10:00:00.000000Z event=connected program=smtpd session=s1 client=192.0.2.1 ` +
		`error="evil \"x\"\r\nevent=fake" rtl="\u202etxt" raw="\xff\x1b[2J"` + "\n"
	if out.String() != want {
		t.Fatalf("got  %s\nwant %s", out.String(), want)
	}
}

func TestJSONIsOneObjectALine(t *testing.T) {
	var out bytes.Buffer
	New(&out, "smtpd", JSON, at).Event(Closed, "helo", "a\r\nb\x00\u202e\u2028\xff", "bytes", 12)
	if strings.Count(out.String(), "\n") != 1 || strings.ContainsAny(out.String(), "\r\u202e") {
		t.Fatalf("not one clean line: %q", out.String())
	}
	var got map[string]string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["helo"] != "a\r\nb\x00\u202e\u2028\ufffd" || got["bytes"] != "12" {
		t.Fatalf("got %q", got)
	}
}

func TestLongValuesAreCut(t *testing.T) {
	var out bytes.Buffer
	New(&out, "x", Logfmt, at).Event(Trouble, "v", strings.Repeat("ü", 1<<20))
	if out.Len() > 8<<10 {
		t.Fatalf("a line of %d bytes", out.Len())
	}
}

func TestVocabularyHasNoDuplicates(t *testing.T) {
	seen := map[Event]bool{}
	for _, d := range All() {
		if seen[d.Event] {
			t.Errorf("event %q is defined twice", d.Event)
		}
		if d.Meaning == "" {
			t.Errorf("event %q has no meaning", d.Event)
		}
		seen[d.Event] = true
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\r\nb", true)
	f.Fuzz(func(t *testing.T, v string, asJSON bool) {
		var out bytes.Buffer
		format := Logfmt
		if asJSON {
			format = JSON
		}
		New(&out, "x", format, at).Event(Trouble, "v", v)
		if bytes.Count(out.Bytes(), []byte("\n")) != 1 || bytes.ContainsAny(out.Bytes(), "\r\x00\x1b") {
			t.Fatalf("%q", out.String())
		}
		if asJSON && !json.Valid(out.Bytes()) {
			t.Fatalf("not JSON: %q", out.String())
		}
	})
}
