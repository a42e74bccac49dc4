package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// startCourier starts the Courier unpacked below root, in a mount namespace of
// its own, because its paths are compiled in. It syncs nothing to disk.
func startCourier(unpacked, dir string, messages int) (*peer, error) {
	imap, pop3 := freePort(), freePort()
	mail := filepath.Join(dir, "mail")
	if err := os.MkdirAll(mail, 0o755); err != nil {
		return nil, err
	}
	if err := makeMaildirs(mail); err != nil {
		return nil, err
	}
	for _, user := range []string{"reader", "idler"} {
		n := messages
		if user == "idler" {
			n = 0
		}
		if err := fill(filepath.Join(mail, user, "Maildir"), owner, n); err != nil {
			return nil, err
		}
	}
	if err := chownAll(mail, owner); err != nil {
		return nil, err
	}
	var accounts strings.Builder
	account := func(user string) {
		fmt.Fprintf(&accounts, "%[1]s@example.test\thome=%[2]s/%[1]s|mail=Maildir|uid=%[3]d|gid=%[3]d|imappw=%[4]s|pop3pw=%[4]s\n", user, mail, owner, courierHash)
	}
	account("reader")
	account("idler")
	for i := range users {
		account(fmt.Sprintf("u%02d", i))
	}
	if err := writeFiles(dir, map[string]string{"etc/authdaemonrc": courierAuth, "etc/start": fmt.Sprintf(courierStart, unpacked, dir, imap, pop3, owner)}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "etc", "userdb"), []byte(accounts.String()), 0o600); err != nil {
		return nil, err
	}
	both := func() bool { return answers("127.0.0.1:"+imap)() && answers("127.0.0.1:"+pop3)() }
	cmd, err := background(both, "unshare", "-m", "bash", filepath.Join(dir, "etc", "start"))
	if err != nil {
		return nil, err
	}
	return &peer{name: "courier", imap: "127.0.0.1:" + imap, pop3: "127.0.0.1:" + pop3, domain: "example.test", password: "bench",
		mail: mail + "/%s/Maildir", roots: root(cmd), stop: end(cmd)}, nil
}

// courierHash is md5-crypt of "bench", as cheap as the hashes of the others.
const courierHash = "$1$benchslt$mf7H276NchSg/rWIdGIsF1"

const courierAuth = `authmodulelist="authuserdb"
authmodulelistorig="authuserdb"
daemons=5
authdaemonvar=/run/courier/authdaemon
DEBUG_LOGIN=0
DEFAULTOPTIONS=""
LOGGEROPTS=""
`

// Without an entry in passwd, Courier waits for its file alteration monitor at
// every SELECT.
const courierStart = `set -e
mkdir -p /etc/courier /run/courier /usr/lib/courier /usr/lib/courier-authlib %[2]s/run/authdaemon
cp %[1]s/etc/courier/imapd %[1]s/etc/courier/pop3d %[2]s/etc/
cp /etc/passwd %[2]s/etc/passwd
echo 'peykbench:x:%[5]d:%[5]d::/nonexistent:/bin/sh' >>%[2]s/etc/passwd
mount --bind %[2]s/etc/passwd /etc/passwd
mount --bind %[1]s/usr/lib/courier /usr/lib/courier
mount --bind %[1]s/usr/libexec /usr/libexec
mount --bind %[1]s/usr/lib/courier-authlib /usr/lib/courier-authlib
mount --bind %[2]s/etc /etc/courier
mount --bind %[2]s/run /run/courier
export LD_LIBRARY_PATH=%[1]s/usr/lib:%[1]s/usr/lib/x86_64-linux-gnu PATH=$PATH:%[1]s/usr/sbin:%[1]s/usr/bin
export USER=peykbench LOGNAME=peykbench
perl %[1]s/usr/sbin/makeuserdb
/usr/lib/courier/courier-authlib/authdaemond &
sleep 0.5
(set -a; . /etc/courier/imapd; set +a
exec couriertcpd -address=127.0.0.1 -maxprocs=2000 -maxperip=2000 -nodnslookup -noidentlookup %[3]s /usr/lib/courier/courier/imaplogin %[1]s/usr/bin/imapd Maildir) &
(set -a; . /etc/courier/pop3d; set +a
exec couriertcpd -address=127.0.0.1 -maxprocs=2000 -maxperip=2000 -nodnslookup -noidentlookup %[4]s /usr/lib/courier/courier/courierpop3login /usr/lib/courier/courier/courierpop3d Maildir) &
trap 'kill $(jobs -p)' TERM
wait
`
