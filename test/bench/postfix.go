package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// startPostfix starts a Postfix with virtual(8) delivery, its defaults, and
// file log. Beside it runs a Dovecot that checks its logins; TLS is with the
// certificate of certs.
func startPostfix(dir, certs string) (*peer, error) {
	stopSASL, rootsSASL, err := startSASL(filepath.Join(dir, "auth"))
	if err != nil {
		return nil, err
	}
	p, err := startPostfixItself(dir, certs)
	if err != nil {
		stopSASL()
		return nil, err
	}
	stop, roots := p.stop, p.roots
	p.stop = func() { stop(); stopSASL() }
	p.roots = func() []int { return append(roots(), rootsSASL()...) }
	return p, nil
}

func startPostfixItself(dir, certs string) (*peer, error) {
	port, submission := freePort(), freePort()
	mail, etc, spool := filepath.Join(dir, "mail"), filepath.Join(dir, "etc"), filepath.Join(dir, "spool")
	for _, sub := range []string{spool, filepath.Join(dir, "data")} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, err
		}
	}
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("chown: %s", out)
	}
	if err := makeMaildirs(mail); err != nil {
		return nil, err
	}
	var boxes strings.Builder
	for i := range users {
		fmt.Fprintf(&boxes, "u%02d@example.test u%02d/Maildir/\n", i, i)
	}
	if err := writeFiles(etc, map[string]string{"boxes": boxes.String(), "main.cf": fmt.Sprintf(postfixMain, dir, mail, owner, freePort(), certs),
		"master.cf": fmt.Sprintf(postfixMaster, port, submission)}); err != nil {
		return nil, err
	}
	cmd, err := background(answers("127.0.0.1:"+port), "postfix", "-c", etc, "start-fg")
	if err != nil {
		return nil, err
	}
	return &peer{name: "postfix", smtp: "127.0.0.1:" + port, submission: "127.0.0.1:" + submission,
		domain: "example.test", password: "bench", mail: mail + "/%s/Maildir",
		queue: []string{filepath.Join(spool, "maildrop"), filepath.Join(spool, "incoming"), filepath.Join(spool, "active"), filepath.Join(spool, "deferred")},
		roots: root(cmd),
		stop:  func() { exec.Command("postfix", "-c", etc, "stop").Run(); end(cmd)() }}, nil
}

const postfixMain = `compatibility_level = 3.6
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
myhostname = mx.example.test
mydestination =
mynetworks = 127.0.0.0/8
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no
virtual_mailbox_domains = example.test
virtual_mailbox_base = %[2]s
virtual_mailbox_maps = texthash:%[1]s/etc/boxes
virtual_uid_maps = static:%[3]d
virtual_gid_maps = static:%[3]d
virtual_minimum_uid = 100
relayhost = [127.0.0.1]:%[4]s
smtpd_tls_chain_files = %[5]s/privkey.pem %[5]s/fullchain.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = %[1]s/auth/sasl
`

const postfixMaster = `127.0.0.1:%s inet n - n - - smtpd
127.0.0.1:%s inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
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
virtual   unix  - n n - - virtual
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`
