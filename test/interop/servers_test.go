package interop_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"peyk/test/sandbox"
)

// postfix starts a Postfix on a port of its own that relays everything by the
// given main.cf lines, and returns its address.
func postfix(t *testing.T, lines ...string) string {
	t.Helper()
	needRoot(t)
	need(t, "postfix")
	dir, addr := place(t), fmt.Sprintf("127.0.0.1:%d", sandbox.FreePort(t))
	for _, sub := range []string{"etc", "spool", "data"} {
		os.MkdirAll(filepath.Join(dir, sub), 0o755)
	}
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("chown: %s", out)
	}
	write(t, filepath.Join(dir, "etc", "main.cf"), fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
maillog_file_prefixes = %[1]s
maillog_file = %[1]s/maillog
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example
mydestination =
mynetworks = 127.0.0.0/8
smtp_host_lookup = native
disable_dns_lookups = yes
smtputf8_enable = yes
%s
`, dir, strings.Join(lines, "\n")), 0o644)
	write(t, filepath.Join(dir, "etc", "master.cf"), addr+` inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`, 0o644)
	t.Cleanup(func() { exec.Command("postfix", "-c", filepath.Join(dir, "etc"), "stop").Run() })
	daemon(t, "tcp", addr, "postfix", "-c", filepath.Join(dir, "etc"), "start-fg")
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(dir, "maillog")); err == nil {
				t.Logf("the log of Postfix:\n%s", tail(string(log)))
			}
		}
	})
	return addr
}

// dovecot starts a Dovecot with the given services and returns its directory.
// Its users are alice and bob with the password "secret", their mail is where
// mail says.
func dovecot(t *testing.T, addr, mail string, lines ...string) string {
	t.Helper()
	needRoot(t)
	need(t, "dovecot")
	dir := place(t)
	write(t, filepath.Join(dir, "users"), "alice@example.test:{PLAIN}secret\nbob@example.test:{PLAIN}secret\n", 0o644)
	conf := write(t, filepath.Join(dir, "dovecot.conf"), fmt.Sprintf(`base_dir = %[1]s/run
log_path = %[1]s/log
state_dir = %[1]s/state
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:%[2]s
mail_uid = %[3]d
mail_gid = %[3]d
first_valid_uid = %[3]d
default_internal_user = dovecot
default_login_user = dovenull
%[4]s
`, dir, mail, owner, strings.Join(lines, "\n")), 0o644)
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	daemon(t, network, addr, "dovecot", "-F", "-c", conf)
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil {
				t.Logf("the log of Dovecot:\n%s", tail(string(log)))
			}
		}
	})
	return dir
}

// ownUsers lets Dovecot look up its own users.
func ownUsers(dirOfMail string) string {
	return fmt.Sprintf(`passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=%d gid=%d home=%s/%%n
}`, owner, owner, dirOfMail)
}

func TestPostfixRelaysToUs(t *testing.T) {
	needRoot(t)
	s := sandbox.Start(t)
	addr := postfix(t, "relayhost = [127.0.0.1]:"+port(s.Env["PEYK_SMTP"]), "smtp_tls_security_level = encrypt")
	run(t, s, `swaks --server `+addr+` --from you@example.net --to $PEYK_USER2 --header 'Subject: through Postfix'`)
	run(t, s, `swaks --server `+addr+` --from you@example.net --to $PEYK_USER1,$PEYK_USER2 --header 'Subject: two'`)
	contains(t, delivered(t, s, s.Env["PEYK_MAILDIR2"], 2), "Subject: through Postfix\n")
	contains(t, delivered(t, s, s.Env["PEYK_MAILDIR1"], 2), "by postfix.example")
}

func TestWeRelayToPostfix(t *testing.T) {
	needRoot(t)
	back := sandbox.Start(t) // where Postfix sends it on to
	addr := postfix(t, "relayhost = [127.0.0.1]:"+port(back.Env["PEYK_SMTP"]))
	s := sandbox.Start(t, "routes=* "+addr)
	for i := range 5 {
		run(t, s, `printf 'Subject: out `+itoa(i)+`\n\nhello\n.\n..\n' | sh -c "$PEYK_SENDMAIL -i -f alice@example.test x@elsewhere.example"`)
	}
	s.Eventually("Postfix took them", func() bool { list, err := s.Mailctl("", "queue", "list"); return err == nil && list == "" })
	if log := s.Log(); strings.Count(log, "event=relayed") < 5 {
		t.Errorf("no five relayed messages in the log:\n%s", tail(log))
	}
}

// Postfix delivers into our mailboxes by LMTP.
func TestPostfixFeedsDeliver(t *testing.T) {
	needRoot(t)
	s := sandbox.Start(t)
	addr := postfix(t, "default_transport = lmtp:unix:"+s.Env["PEYK_LMTP"])
	os.Chmod(s.Dir, 0o755)
	os.Chmod(filepath.Join(s.Dir, "run"), 0o755)
	os.Chmod(s.Env["PEYK_LMTP"], 0o666) // Postfix's lmtp runs as postfix
	run(t, s, `swaks --server `+addr+` --from you@example.net --to $PEYK_USER2 --header 'Subject: by lmtp'`)
	contains(t, delivered(t, s, s.Env["PEYK_MAILDIR2"], 1), "Subject: by lmtp\n")
}

// Dovecot's LMTP sits in deliver's seat.
func TestDovecotLMTPInDeliversSeat(t *testing.T) {
	needRoot(t)
	mail := place(t)
	os.Chown(mail, owner, owner)
	socket := filepath.Join(place(t), "lmtp.sock")
	dovecot(t, socket, "~/Maildir", ownUsers(mail), "protocols = lmtp", "service lmtp {\n  unix_listener "+socket+" {\n    mode = 0666\n  }\n}")
	s := sandbox.Start(t, "deliver-socket="+socket)
	run(t, s, `swaks --server $PEYK_SMTP --from you@example.net --to $PEYK_USER1,$PEYK_USER2 --header 'Subject: for Dovecot'`)
	for _, user := range []string{"alice", "bob"} {
		contains(t, delivered(t, s, filepath.Join(mail, user, "Maildir"), 1), "Subject: for Dovecot\n")
	}
}

// authd answers Postfix's SASL.
func TestAuthdServesPostfix(t *testing.T) {
	needRoot(t)
	s := sandbox.Start(t)
	opened(t, s, s.Env["PEYK_AUTH"])
	addr := postfix(t, "relayhost = [127.0.0.1]:"+port(s.Env["PEYK_SMTP"]), "smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot",
		"smtpd_sasl_path = "+s.Env["PEYK_AUTH"], "smtpd_relay_restrictions = permit_sasl_authenticated, reject", "smtpd_sasl_security_options = noanonymous")
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		run(t, s, `swaks --server `+addr+` --auth `+mechanism+` --auth-user $PEYK_USER1 --auth-password $PEYK_PASS1 --from $PEYK_USER1 --to $PEYK_USER2`)
		if out, err := try(s, `swaks --server `+addr+` --auth `+mechanism+` --auth-user $PEYK_USER1 --auth-password nope --from $PEYK_USER1 --to $PEYK_USER2`); err == nil || !strings.Contains(out, "535") {
			t.Errorf("a wrong password by %s: %v\n%s", mechanism, err, out)
		}
	}
	need(t, "msmtp")
	for _, mech := range []string{"scram-sha-1", "scram-sha-256"} {
		run(t, s, `printf 'Subject: x\n\nhi\n' | msmtp --host=127.0.0.1 --port=`+port(addr)+` --auth=`+mech+` --user=$PEYK_USER1 --passwordeval="echo $PEYK_PASS1" --from=$PEYK_USER1 $PEYK_USER2`)
	}
	if out := run(t, s, `swaks --server `+addr+` --quit-after EHLO`); strings.Contains(out, "-PLUS") || !strings.Contains(out, "SCRAM-SHA-256") {
		t.Errorf("Postfix offers what it cannot bind, or lacks what it can: %s", out)
	}
	delivered(t, s, s.Env["PEYK_MAILDIR2"], 4)
}

// opened lets the users of foreign daemons reach a socket of the sandbox.
func opened(t *testing.T, s *sandbox.Sandbox, socket string) {
	t.Helper()
	for path, mode := range map[string]os.FileMode{s.Dir: 0o755, filepath.Dir(socket): 0o755, socket: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// authd answers Dovecot: who exists, for its LMTP, and who may log in, for its
// IMAP, each over the authentication protocol.
func TestAuthdServesDovecot(t *testing.T) {
	needRoot(t)
	need(t, "curl", "swaks")
	s := sandbox.StartAs(t, owner)
	imap := sandbox.FreePort(t)
	socket := filepath.Join(place(t), "lmtp.sock")
	users := filepath.Join(s.Dir, "run", "userdb.sock")
	opened(t, s, users)
	opened(t, s, s.Env["PEYK_AUTH"])
	dovecot(t, fmt.Sprintf("127.0.0.1:%d", imap), "~/Maildir", "protocols = imap lmtp", "auth_socket_path = "+users,
		fmt.Sprintf("service imap-login {\n  chroot =\n  executable = imap-login %s\n  inet_listener imap {\n    port = %d\n  }\n}", s.Env["PEYK_AUTH"], imap),
		"service imap {\n  executable = imap -a "+users+"\n}",
		"service lmtp {\n  unix_listener "+socket+" {\n    mode = 0666\n  }\n}")
	run(t, s, `swaks --socket `+socket+` --protocol LMTP --from you@example.net --to $PEYK_USER2 --header 'Subject: dovecot asked authd'`)
	contains(t, delivered(t, s, s.Env["PEYK_MAILDIR2"], 1), "Subject: dovecot asked authd\n")
	if out, err := try(s, `swaks --socket `+socket+` --protocol LMTP --from you@example.net --to nobody@example.test`); err == nil || !strings.Contains(out, "550") {
		t.Errorf("an unknown user: %v\n%s", err, out)
	}
	out := run(t, s, `curl -sS imap://127.0.0.1:`+itoa(imap)+`/INBOX -u $PEYK_USER2:$PEYK_PASS2 -X 'SEARCH ALL'`)
	if !strings.Contains(out, "* SEARCH 1") {
		t.Errorf("Dovecot's IMAP says %q", out)
	}
	offer := run(t, s, `curl -sS imap://127.0.0.1:`+itoa(imap)+`/ -v -u $PEYK_USER2:$PEYK_PASS2 2>&1`)
	if strings.Contains(offer, "-PLUS") || !strings.Contains(offer, "AUTH=SCRAM-SHA-256") {
		t.Errorf("Dovecot offers what it cannot bind, or lacks what it can: %s", offer)
	}
	if out, err := try(s, `curl -sS imap://127.0.0.1:`+itoa(imap)+`/INBOX -u $PEYK_USER2:wrong -X 'SEARCH ALL'`); err == nil {
		t.Errorf("a wrong password got in: %s", out)
	}
}

// Dovecot's auth serves smtpd, imapd, pop3d and deliver.
func TestDovecotAuthInAuthdsSeat(t *testing.T) {
	needRoot(t)
	need(t, "curl", "swaks")
	mail := place(t)
	os.Chown(mail, owner, owner)
	dir := place(t)
	auth, userdb := filepath.Join(dir, "auth.sock"), filepath.Join(dir, "auth-userdb") // Dovecot tells them apart by name
	dovecot(t, auth, "~/Maildir", fmt.Sprintf(`passdb {
  driver = passwd-file
  args = %[1]s/users
}
userdb {
  driver = passwd-file
  args = %[1]s/users
  default_fields = uid=%[2]d gid=%[2]d home=%[3]s/%%n mail=maildir:%[3]s/%%n/Maildir
}`, dir, owner, mail), "protocols = imap", fmt.Sprintf("service auth {\n  unix_listener %s {\n    mode = 0666\n  }\n  unix_listener %s {\n    mode = 0666\n  }\n}", auth, userdb),
		"service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n}")
	write(t, filepath.Join(dir, "users"), "alice@example.test:{PLAIN}secret::::::\nbob@example.test:{PLAIN}secret::::::\n", 0o644)
	s := sandbox.StartAs(t, owner, "auth-socket="+auth, "userdb-socket="+userdb, "mail-directories="+mail)
	run(t, s, `swaks --server $PEYK_SUBMISSION --tls --auth PLAIN --auth-user $PEYK_USER1 --auth-password secret --from $PEYK_USER1 --to $PEYK_USER2 --header 'Subject: dovecot knows'`)
	contains(t, delivered(t, s, filepath.Join(mail, "bob", "Maildir"), 1), "Subject: dovecot knows\n")
	out := run(t, s, `curl -sS --cacert $PEYK_CA imaps://localhost:${PEYK_IMAPS##*:}/INBOX -u $PEYK_USER2:secret -X 'SEARCH ALL'`)
	if !strings.Contains(out, "* SEARCH 1") {
		t.Errorf("imapd says %q", out)
	}
	run(t, s, `curl -sS --cacert $PEYK_CA pop3s://localhost:${PEYK_POP3S##*:}/1 -u $PEYK_USER2:secret | grep -q 'dovecot knows'`)
	if out, err := try(s, `swaks --server $PEYK_SMTP --from you@example.net --to nobody@example.test`); err == nil || !strings.Contains(out, "550") {
		t.Errorf("an unknown user: %v\n%s", err, out)
	}
}

// Dovecot and imapd take turns on one Maildir: UIDs, keywords, flags and
// subscriptions stay as they are, whoever wrote them.
func TestDovecotAndImapdTakeTurns(t *testing.T) {
	needRoot(t)
	need(t, "curl", "swaks")
	s := sandbox.StartAs(t, owner)
	imap := sandbox.FreePort(t)
	dovecot(t, fmt.Sprintf("127.0.0.1:%d", imap), "~/Maildir", "protocols = imap", ownUsers(filepath.Dir(filepath.Dir(s.Env["PEYK_MAILDIR2"]))),
		fmt.Sprintf("service imap-login {\n  inet_listener imap {\n    port = %d\n  }\n}", imap))
	ours := func(folder, command string) string {
		return run(t, s, `curl -sS --cacert $PEYK_CA "imaps://localhost:${PEYK_IMAPS##*:}/`+folder+`" -u $PEYK_USER2:$PEYK_PASS2 -X '`+command+`'`)
	}
	theirs := func(folder, command string) string {
		return run(t, s, `curl -sS "imap://127.0.0.1:`+itoa(imap)+`/`+folder+`" -u $PEYK_USER2:secret -X '`+command+`'`)
	}
	both := func(what, folder, command string) {
		t.Helper()
		if a, b := normal(ours(folder, command)), normal(theirs(folder, command)); a != b {
			t.Errorf("%s: imapd says\n%sDovecot says\n%s", what, a, b)
		}
	}
	send := func(n int) {
		for range 5 {
			run(t, s, `swaks --server $PEYK_SMTP --from you@example.net --to $PEYK_USER2 >/dev/null`)
		}
		delivered(t, s, s.Env["PEYK_MAILDIR2"], n)
	}
	const all = "UID FETCH 1:* (FLAGS RFC822.SIZE)"
	send(5)
	ours("INBOX", "UID FETCH 1:* FLAGS")
	both("our UIDs", "INBOX", all)
	send(10)
	theirs("INBOX", "UID FETCH 1:* FLAGS")
	both("their UIDs", "INBOX", all)
	ours("INBOX", `UID STORE 2:4 +FLAGS (\Flagged ours $Label1)`)
	both("our flags and keywords", "INBOX", all)
	theirs("INBOX", `UID STORE 3:6 +FLAGS (\Seen theirs $Label1)`)
	both("their flags and keywords", "INBOX", all)
	ours("", "CREATE Work.Deep")
	theirs("", "CREATE Theirs")
	ours("", "SUBSCRIBE Work.Deep")
	theirs("", "SUBSCRIBE Theirs")
	both("folders", "", `LIST "" *`)
	both("subscriptions", "", `LSUB "" *`)
	ours("INBOX", "UID COPY 1:3 Work.Deep")
	theirs("INBOX", "UID COPY 4:6 Work.Deep")
	both("copies", "Work.Deep", all)
	ours("INBOX", `UID STORE 1 +FLAGS (\Deleted)`)
	ours("INBOX", "EXPUNGE")
	theirs("INBOX", `UID STORE 10 +FLAGS (\Deleted)`)
	theirs("INBOX", "EXPUNGE")
	both("what is left", "INBOX", all)
	both("validity", "", "STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")
	send(13)
	both("new mail after all that", "INBOX", all)
}

// normal makes answers comparable: sorted lines, without \Recent, which says
// who looked first, and sorted flags.
func normal(answer string) string {
	lines := strings.Split(strings.ReplaceAll(answer, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = sortFlags(strings.ReplaceAll(strings.ReplaceAll(line, ` \Recent`, ""), `\Recent`, ""))
	}
	return strings.Join(sorted(lines), "\n") + "\n"
}
