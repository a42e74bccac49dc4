package imapd

import (
	"strings"
	"testing"
)

func TestMessageURL(t *testing.T) {
	for text, want := range map[string]string{
		"/INBOX/;UID=20": "INBOX",
		"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1": "Drafts",
		"/a%20b%2Fc/;uid=1/;PARTIAL=0.1":                   "a b/c",
		"/INBOX/;UID=1/;SECTION=1.2/;PARTIAL=5":            "INBOX",
		";UID=1":                                           "",
		"Drafts/;UID=1":                                    "Drafts",
		"/%D8%A8/;UID=4294967295":                          "ب",
	} {
		if u, ok := parseMessageURL(text); !ok || u.mailbox != want {
			t.Errorf("%q: %+v %v", text, u, ok)
		}
	}
	for _, text := range []string{"", "/", "/INBOX", "/INBOX;UID=1", "/INBOX/;UID=0", "/INBOX/;UID=4294967296", "/INBOX/;UID=1/", "//host/INBOX/;UID=1",
		"imap://host/INBOX/;UID=1", "/INBOX/;SECTION=1/;UID=1", "/INBOX/;UID=1/;UID=2", "/INBOX/;UID=1;SECTION=1",
		"/INBOX;UIDVALIDITY=0/;UID=1", "/%zz/;UID=1", "/INBOX/;UID=1/;PARTIAL=1.0", "/INBOX/;UID=1/;PARTIAL=-1", "/INBOX/;UID=1/;PARTIAL=9223372036854775808",
		"/INBOX/;UID=1/;URLAUTH=anonymous", ";UIDVALIDITY=1/;UID=1", "/" + strings.Repeat("a", maxURL) + "/;UID=1"} {
		if u, ok := parseMessageURL(text); ok {
			t.Errorf("%q is taken: %+v", text, u)
		}
	}
}

// FuzzMessageURL: a URL is bounded, names a UID, and never breaks a response.
func FuzzMessageURL(f *testing.F) {
	f.Add("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME/;PARTIAL=1.2")
	f.Add(";UID=1/;SECTION=HEADER.FIELDS%20(A)")
	f.Fuzz(func(t *testing.T, text string) {
		u, ok := parseMessageURL(text)
		if ok && (u.uid == 0 || len(text) > maxURL) {
			t.Errorf("%q: %+v", text, u)
		}
		if code := asCode(text); strings.ContainsAny(code, "\r\n]\\\" \x00") || len(code) > maxURL+2 {
			t.Errorf("code %q", code)
		}
	})
}
