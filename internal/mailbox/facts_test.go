package mailbox

import (
	"strings"
	"testing"
)

// withMessages makes an INBOX of these messages and returns it refreshed.
func withMessages(t testing.TB, texts ...string) *Folder {
	t.Helper()
	h, a, f := newInbox(t)
	for _, text := range texts {
		deliver(t, h, a.root, text)
		refresh(t, f)
	}
	return f
}

const letterText = "Received: by x\nFrom: A <a@b.example>\nsubject: one\n two\nX-Own: 1\nReferences: <r@x> <s@x>\nMessage-ID: <m@x>\n\nhello\n"

func TestFacts(t *testing.T) {
	f := withMessages(t, letterText)
	facts, err := f.Facts(1, NeedEnvelope|NeedFields|NeedStructure|NeedBody|NeedID)
	if err != nil {
		t.Fatal(err)
	}
	from := `(("A" NIL "a" "b.example"))`
	if got, want := string(facts.Envelope), `(NIL "one two" `+from+" "+from+" "+from+` NIL NIL NIL NIL "<m@x>")`; got != want {
		t.Errorf("envelope %s, want %s", got, want)
	}
	if got, want := string(facts.Fields), "From: A <a@b.example>\r\nsubject: one\r\n two\r\nX-Own: 1\r\nReferences: <r@x> <s@x>\r\nMessage-ID: <m@x>\r\n"; got != want {
		t.Errorf("fields %q, want %q", got, want)
	}
	if got, want := string(facts.Body), `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1)`; got != want {
		t.Errorf("body %s, want %s", got, want)
	}
	if !strings.HasPrefix(string(facts.Structure), strings.TrimSuffix(string(facts.Body), ")")+" NIL") {
		t.Errorf("structure %s", facts.Structure)
	}
	if len(facts.ID) != 33 || facts.ID[0] != 'M' || facts.ThreadID != (&threadFields{[]byte("r@x")}).id() {
		t.Errorf("ids %q, %q", facts.ID, facts.ThreadID)
	}
	for name, want := range map[string]bool{"SUBJECT": true, "Bcc": true, "X-Own": true, "x-own": true, "RECEIVED": false, "Received": false, "X-None": true} {
		if facts.Knows(name) != want {
			t.Errorf("Knows(%s) is %v", name, !want)
		}
	}
}

func TestFactsOfLongFields(t *testing.T) {
	f := withMessages(t, "Subject: "+strings.Repeat("x", 5000)+"\n\n", "Subject: "+strings.Repeat("x", 300_000)+"\n\n")
	for uid := range uint32(2) {
		facts, err := f.Facts(uid+1, NeedFields)
		if err != nil || facts.FieldsWhole || len(facts.Fields) > 0 || facts.Knows("Subject") {
			t.Errorf("message %d: %v, whole %v, %d octets", uid+1, err, facts.FieldsWhole, len(facts.Fields))
		}
	}
}
