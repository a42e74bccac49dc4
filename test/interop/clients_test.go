package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"peyk/test/sandbox"
)

func TestSwaksSends(t *testing.T) {
	need(t, "swaks")
	s := sandbox.Start(t)
	run(t, s, `swaks --server $PEYK_SMTP --from you@example.net --to $PEYK_USER2 --header 'Subject: swaks plain'`)
	run(t, s, `swaks --server $PEYK_SMTP --tls --from you@example.net --to $PEYK_USER2 --header 'Subject: swaks starttls'`)
	run(t, s, `swaks --server $PEYK_SUBMISSION --tls --auth PLAIN --auth-user $PEYK_USER1 --auth-password $PEYK_PASS1 --from $PEYK_USER1 --to $PEYK_USER2 --header 'Subject: swaks plain auth'`)
	run(t, s, `swaks --server $PEYK_SUBMISSIONS --tls-on-connect --auth LOGIN --auth-user $PEYK_USER1 --auth-password $PEYK_PASS1 --from $PEYK_USER1 --to $PEYK_USER2 --header 'Subject: swaks login'`)
	run(t, s, `swaks --socket $PEYK_LMTP --protocol LMTP --from you@example.net --to $PEYK_USER2 --header 'Subject: swaks lmtp'`)
	texts := delivered(t, s, s.Env["PEYK_MAILDIR2"], 5)
	for _, subject := range []string{"swaks plain", "swaks starttls", "swaks plain auth", "swaks login", "swaks lmtp"} {
		contains(t, texts, "Subject: "+subject+"\n")
	}
	contains(t, texts, "with ESMTPSA")
	if out, err := try(s, `swaks --server $PEYK_SUBMISSION --tls --auth PLAIN --auth-user $PEYK_USER1 --auth-password wrong --from $PEYK_USER1 --to $PEYK_USER2`); err == nil || !strings.Contains(out, "535") {
		t.Errorf("a wrong password: %v\n%s", err, out)
	}
	if out, err := try(s, `swaks --server $PEYK_SUBMISSION --tls --auth PLAIN --auth-user $PEYK_USER1 --auth-password $PEYK_PASS1 --from $PEYK_USER2 --to $PEYK_USER2`); err == nil || !strings.Contains(out, "553 5.7.1") {
		t.Errorf("a sender that is not his: %v\n%s", err, out)
	}
}

func TestMsmtpSends(t *testing.T) {
	need(t, "msmtp")
	s := sandbox.Start(t)
	write(t, filepath.Join(s.Dir, "home", "msmtprc"), fmt.Sprintf(`defaults
auth on
tls on
tls_trust_file %s
host localhost
from %s
user %s
password %s
account starttls
port %s
account tls
tls_starttls off
port %s
`, s.Env["PEYK_CA"], s.Env["PEYK_USER1"], s.Env["PEYK_USER1"], s.Env["PEYK_PASS1"], port(s.Env["PEYK_SUBMISSION"]), port(s.Env["PEYK_SUBMISSIONS"])), 0o600)
	for _, account := range []string{"starttls", "tls"} {
		run(t, s, `printf 'Subject: msmtp `+account+`\n\nhi\n' | msmtp -C msmtprc -a `+account+` $PEYK_USER2`)
	}
	texts := delivered(t, s, s.Env["PEYK_MAILDIR2"], 2)
	contains(t, texts, "Subject: msmtp starttls\n")
	contains(t, texts, "Subject: msmtp tls\n")
}

func TestCurlSendsAndReads(t *testing.T) {
	need(t, "curl")
	s := sandbox.Start(t)
	run(t, s, `printf 'Subject: by curl\r\n\r\nhello\r\n' | curl -sS smtp://$PEYK_SMTP --mail-from you@example.net --mail-rcpt $PEYK_USER2 -T -`)
	run(t, s, `printf 'Subject: with login\r\n\r\nhello\r\n' | curl -sS --ssl-reqd --cacert $PEYK_CA smtp://localhost:${PEYK_SUBMISSION##*:} -u $PEYK_USER1:$PEYK_PASS1 --mail-from $PEYK_USER1 --mail-rcpt $PEYK_USER2 -T -`)
	delivered(t, s, s.Env["PEYK_MAILDIR2"], 2)
	for _, c := range []struct{ script, want string }{
		{`curl -sS --cacert $PEYK_CA imaps://localhost:${PEYK_IMAPS##*:}/ -u $PEYK_USER2:$PEYK_PASS2`, "INBOX"},
		{`curl -sS --cacert $PEYK_CA "imaps://localhost:${PEYK_IMAPS##*:}/INBOX;MAILINDEX=1" -u $PEYK_USER2:$PEYK_PASS2`, "Subject: by curl\r\n"},
		{`curl -sS --ssl-reqd --cacert $PEYK_CA "imap://localhost:${PEYK_IMAP##*:}/INBOX;UID=2" -u $PEYK_USER2:$PEYK_PASS2`, "Subject: with login\r\n"},
		{`curl -sS --cacert $PEYK_CA imaps://localhost:${PEYK_IMAPS##*:}/INBOX -u $PEYK_USER2:$PEYK_PASS2 -X 'SEARCH SUBJECT curl'`, "* SEARCH 1"},
		{`curl -sS --cacert $PEYK_CA pop3s://localhost:${PEYK_POP3S##*:}/ -u $PEYK_USER2:$PEYK_PASS2`, "2 "},
		{`curl -sS --ssl-reqd --cacert $PEYK_CA pop3://localhost:${PEYK_POP3##*:}/1 -u $PEYK_USER2:$PEYK_PASS2`, "Subject: by curl\r\n"},
	} {
		if out := run(t, s, c.script); !strings.Contains(out, c.want) {
			t.Errorf("%s\nprints %q, want %q in it", c.script, out, c.want)
		}
	}
	run(t, s, `printf 'Subject: appended\r\n\r\nhello\r\n' >m && curl -sS --cacert $PEYK_CA imaps://localhost:${PEYK_IMAPS##*:}/INBOX -u $PEYK_USER2:$PEYK_PASS2 -T m`)
	delivered(t, s, s.Env["PEYK_MAILDIR2"], 3)
}

// mbsync carries messages both ways; a second run changes nothing.
func TestMbsyncKeepsTwoStoresInStep(t *testing.T) {
	need(t, "mbsync")
	s := sandbox.Start(t)
	synced := many(t, 2000)
	local := filepath.Join(s.Dir, "home", "local")
	for _, sub := range []string{"cur", "new", "tmp"} {
		os.MkdirAll(filepath.Join(local, "INBOX", sub), 0o700)
	}
	for i := range synced {
		write(t, filepath.Join(local, "INBOX", "cur", fmt.Sprintf("%d.M%dP1.here:2,%s", 1700000000+i, i, []string{"", "S", "FS", "RS"}[i%4])),
			fmt.Sprintf("From: a@example.net\nSubject: number %d\nMessage-ID: <%d@example.net>\n\nbody %d\n", i, i, i), 0o600)
	}
	write(t, filepath.Join(s.Dir, "home", "mbsyncrc"), fmt.Sprintf(`IMAPAccount peyk
Host localhost
Port %s
User %s
Pass %s
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account peyk

MaildirStore near
Inbox %s/INBOX
SubFolders Maildir++

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
CopyArrivalDate yes
`, port(s.Env["PEYK_IMAPS"]), s.Env["PEYK_USER2"], s.Env["PEYK_PASS2"], s.Env["PEYK_CA"], local), 0o600)
	run(t, s, `mbsync -q -c mbsyncrc all`)
	if n := len(delivered(t, s, s.Env["PEYK_MAILDIR2"], synced)); n != synced {
		t.Fatalf("%d messages on the server", n)
	}
	before := listing(t, s.Env["PEYK_MAILDIR2"]) + listing(t, filepath.Join(local, "INBOX"))
	out := run(t, s, `mbsync -V -c mbsyncrc all`)
	if after := listing(t, s.Env["PEYK_MAILDIR2"]) + listing(t, filepath.Join(local, "INBOX")); after != before {
		t.Errorf("the second run changed something:\n%s", out)
	}
	// And the other way: new mail, a flag and a removal on the server.
	run(t, s, `swaks --server $PEYK_SMTP --from you@example.net --to $PEYK_USER2 --header 'Subject: new on the server' >/dev/null`)
	delivered(t, s, s.Env["PEYK_MAILDIR2"], synced+1)
	run(t, s, `curl -sS --cacert $PEYK_CA imaps://localhost:${PEYK_IMAPS##*:}/INBOX -u $PEYK_USER2:$PEYK_PASS2 -X 'STORE 1 +FLAGS (\Deleted)' && curl -sS --cacert $PEYK_CA imaps://localhost:${PEYK_IMAPS##*:}/INBOX -u $PEYK_USER2:$PEYK_PASS2 -X EXPUNGE`)
	run(t, s, `mbsync -q -c mbsyncrc all`)
	near := sandbox.Mail(filepath.Join(local, "INBOX"))
	if len(near) != synced {
		t.Errorf("%d messages here after one came and one went, want %d", len(near), synced)
	}
}

// listing names every file of a Maildir's INBOX, for comparison.
func listing(t *testing.T, maildir string) string {
	t.Helper()
	names := sandbox.Mail(maildir)
	if len(names) == 0 {
		t.Fatalf("no mail in %s", maildir)
	}
	return strings.Join(names, "\n")
}

func TestFetchmailCollects(t *testing.T) {
	need(t, "fetchmail", "swaks")
	s := sandbox.Start(t)
	for i := range 3 {
		run(t, s, `swaks --server $PEYK_SMTP --from you@example.net --to $PEYK_USER2 --header 'Subject: `+itoa(i)+`' >/dev/null`)
	}
	delivered(t, s, s.Env["PEYK_MAILDIR2"], 3)
	for _, protocol := range []string{"imap", "pop3"} {
		p := map[string]string{"imap": port(s.Env["PEYK_IMAPS"]), "pop3": port(s.Env["PEYK_POP3S"])}[protocol]
		keep := map[string]string{"imap": "keep", "pop3": "nokeep"}[protocol]
		write(t, filepath.Join(s.Dir, "home", protocol+".rc"), fmt.Sprintf(`poll localhost protocol %s port %s auth password user "%s" password "%s" ssl sslcertfile "%s" sslcertck fetchall %s mda "cat >>got.%s"
`, protocol, p, s.Env["PEYK_USER2"], s.Env["PEYK_PASS2"], s.Env["PEYK_CA"], keep, protocol), 0o600)
		run(t, s, `fetchmail --nosyslog -f `+protocol+`.rc --pidfile `+protocol+`.pid -i `+protocol+`.ids`)
		got, err := os.ReadFile(filepath.Join(s.Dir, "home", "got."+protocol))
		if err != nil || strings.Count(string(got), "Subject: ") != 3 {
			t.Errorf("by %s fetchmail got %d messages, %v", protocol, strings.Count(string(got), "Subject: "), err)
		}
	}
	s.Eventually("POP3 without keep empties the box", func() bool { return len(sandbox.Mail(s.Env["PEYK_MAILDIR2"])) == 0 })
}

func TestNeomuttReadsAndFiles(t *testing.T) {
	need(t, "neomutt", "swaks")
	s := sandbox.Start(t)
	run(t, s, `swaks --server $PEYK_SMTP --from you@example.net --to $PEYK_USER2 --header 'Subject: for mutt' >/dev/null`)
	delivered(t, s, s.Env["PEYK_MAILDIR2"], 1)
	write(t, filepath.Join(s.Dir, "home", "muttrc"), fmt.Sprintf(`set folder="imaps://localhost:%s/"
set imap_user="%s"
set imap_pass="%s"
set certificate_file="%s"
set ssl_force_tls=yes
set spoolfile="+INBOX"
set mbox_type=Maildir
set confirmappend=no
set confirmcreate=no
set delete=yes
set quit=yes
set wait_key=no
set header_cache=""
set sort=date
`, port(s.Env["PEYK_IMAPS"]), s.Env["PEYK_USER2"], s.Env["PEYK_PASS2"], s.Env["PEYK_CA"]), 0o600)
	run(t, s, `script -qec "exec timeout --foreground 60 neomutt -n -F muttrc -e 'push \"<first-entry><flag-message><copy-message>+Kept<enter><exit>\"'" /dev/null </dev/null || true`)
	kept := filepath.Join(s.Env["PEYK_MAILDIR2"], ".Kept")
	s.Eventually("the copy is in Kept", func() bool { return len(sandbox.Mail(kept)) == 1 })
	flagged := sandbox.Mail(s.Env["PEYK_MAILDIR2"])
	if len(flagged) != 1 || !strings.Contains(flagged[0], ":2,F") {
		t.Errorf("the flag is not in the file name: %v", flagged)
	}
}
