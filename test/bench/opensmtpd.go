package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// startOpenSMTPD starts the OpenSMTPD unpacked below root, in a mount
// namespace of its own, because its paths are compiled in.
func startOpenSMTPD(unpacked, dir string) (*peer, error) {
	port := freePort()
	mail := filepath.Join(dir, "mail")
	if err := os.MkdirAll(filepath.Join(dir, "spool"), 0o711); err != nil {
		return nil, err
	}
	if err := makeMaildirs(mail); err != nil {
		return nil, err
	}
	var accounts, virtual strings.Builder
	for i := range users {
		fmt.Fprintf(&accounts, "u%02d %d:%d:%s/u%02d\n", i, owner, owner, mail, i)
		fmt.Fprintf(&virtual, "u%02d@example.test u%02d\n", i, i)
	}
	if err := writeFiles(dir, map[string]string{"etc/accounts": accounts.String(), "etc/virtual": virtual.String(),
		"etc/smtpd.conf": fmt.Sprintf(openSMTPDConf, dir, port, mail, freePort()),
		"etc/start":      fmt.Sprintf(openSMTPDStart, unpacked, dir)}); err != nil {
		return nil, err
	}
	cmd, err := background(answers("127.0.0.1:"+port), "unshare", "-m", "bash", filepath.Join(dir, "etc", "start"))
	if err != nil {
		return nil, err
	}
	return &peer{name: "opensmtpd", smtp: "127.0.0.1:" + port, domain: "example.test", mail: mail + "/%s/Maildir", roots: root(cmd), stop: end(cmd)}, nil
}

const openSMTPDConf = `table accounts file:%[1]s/etc/accounts
table addresses file:%[1]s/etc/virtual
listen on 127.0.0.1 port %[2]s hostname mx.example.test
action "box" maildir "%[3]s/%%{user.username}/Maildir" virtual <addresses> userbase <accounts>
action "out" relay host smtp://127.0.0.1:%[4]s
match from any for domain "example.test" action "box"
match from any for any action "out"
`

const openSMTPDStart = `set -e
mkdir -p /usr/libexec/opensmtpd /var/lib/opensmtpd/empty /var/spool/smtpd
mount --bind %[1]s/usr/libexec/opensmtpd /usr/libexec/opensmtpd
mount --bind %[2]s/spool /var/spool/smtpd
exec %[1]s/usr/sbin/smtpd -F -f %[2]s/etc/smtpd.conf
`
