package interop_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"peyk/test/corpus"
)

// TestDovecotFindsAlike asks both about every message of the corpus. What only
// one of them finds has a reason.
func TestDovecotFindsAlike(t *testing.T) {
	needRoot(t)
	d := newDuel(t)
	ours, theirs, names := d.everything("all")
	defer ours.Close()
	defer theirs.Close()
	for _, s := range []*side{ours, theirs} {
		if _, err := s.do("SELECT INBOX"); err != nil {
			t.Fatal(err)
		}
	}
	for _, term := range []string{`"sub"`, `"plain"`, `""`, `"example"`, `"fox"`, `"report"`, `"سلام"`, `"caf"`, `"MIME"`, `"level"`, `"sender1"`, `"quick brown"`, `"@example.net"`, `"zzz"`, `"Ä"`, `"html"`, `"href"`, `"boundary"`, `"utf-8"`, `"base64"`} {
		for _, key := range []string{"BODY", "TEXT", "SUBJECT", "FROM", "TO", "CC", "BCC", "HEADER Subject", "HEADER X-None", "HEADER Message-ID", "HEADER Content-Type", "HEADER Comments"} {
			survey(t, ours, theirs, names, key+" "+term)
		}
	}
	for _, key := range []string{"SENTON", "SENTBEFORE", "SENTSINCE"} {
		for _, date := range []string{"1-Jan-1970", "2-Jan-2000", "22-Nov-2026", "23-Nov-2026", "1-Jan-2024", "1-Jan-2030"} {
			survey(t, ours, theirs, names, key+" "+date)
		}
	}
}

func survey(t *testing.T, ours, theirs *side, names []string, key string) {
	t.Helper()
	for n, mine := range foundByOne(ours, theirs, key) {
		if whyOne(key, ours.headerOf("FETCH "+n+" "), mine) == "" {
			i, _ := strconv.Atoi(n)
			t.Errorf("%s: %s is found by imapd: %v, by Dovecot: %v", key, names[i-1], mine, !mine)
		}
	}
}

func (d *duel) everything(user string) (ours, theirs *side, names []string) {
	d.t.Helper()
	if _, err := d.s.Mailctl("secret\n", "user", "add", user+"@example.test"); err != nil {
		d.t.Fatal(err)
	}
	mine := filepath.Join(filepath.Dir(filepath.Dir(d.s.Env["PEYK_MAILDIR1"])), user, "Maildir")
	other := filepath.Join(d.theirs, user, "Maildir")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(mine, sub), 0o700); err != nil {
			d.t.Fatal(err)
		}
	}
	i := 0
	var list strings.Builder
	for m := range corpus.Messages() {
		if len(m.Text) >= 300_000 {
			continue
		}
		i++
		names = append(names, m.Name)
		when := time.Unix(1_577_836_800+int64(i)*1000, 0)
		name := fmt.Sprintf("%d.M%dP1.host", when.Unix(), i)
		path := filepath.Join(mine, "cur", name+":2,S")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(m.Text), "\r\n", "\n")), 0o600); err != nil {
			d.t.Fatal(err)
		}
		os.Chtimes(path, when, when)
		fmt.Fprintf(&list, "%d :%s\n", i, name)
	}
	uids := fmt.Sprintf("3 V1700000000 N%d G00112233445566778899aabbccddeeff\n", i+1) + list.String()
	if err := os.WriteFile(filepath.Join(mine, "dovecot-uidlist"), []byte(uids), 0o600); err != nil {
		d.t.Fatal(err)
	}
	copyTree(d.t, mine, other)
	chownTree(d.t, filepath.Dir(other), owner)
	return d.login("imapd", d.s.Env["PEYK_IMAPS"], &tls.Config{InsecureSkipVerify: true}, user+"@example.test"), d.login("Dovecot", d.dovecot, nil, user), names
}
