package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// users is how many mailboxes the SMTP rows spread over.
const users = 50

// owner owns the mail of the peers that refuse to work for root.
const owner = 5999

// A peer is one server under test.
type peer struct {
	name            string
	smtp, imap      string // addresses
	domain          string
	mail            string // pattern of a user's Maildir, with %s
	startTLS        bool   // it wants TLS before LOGIN
	login, password string
	roots           func() []int // the processes that it is made of
	stop            func()
}

func (p *peer) user(n int) string    { return fmt.Sprintf("u%02d@%s", n%users, p.domain) }
func (p *peer) maildir(n int) string { return fmt.Sprintf(p.mail, fmt.Sprintf("u%02d", n)) }
func (p *peer) cpu() float64         { return treeCPU(p.roots()) }

func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "0"
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// background starts a server in its own process group and waits for its port.
func background(addr string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for range 3000 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return cmd, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Kill()
	return nil, fmt.Errorf("%s does not answer on %s: %s", args[0], addr, out.String())
}

func end(cmd *exec.Cmd) func() {
	return func() {
		cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(15 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}
}

// startPeyk starts a sandbox with 50 users and one mailbox to read.
func startPeyk(bin, dir string) (*peer, error) {
	base := 13000
	cmd, err := background("127.0.0.1:13995", filepath.Join(bin, "mailctl"), "sandbox", "-dir", dir, "-base-port", strconv.Itoa(base))
	if err != nil {
		return nil, err
	}
	env := filepath.Join(dir, "sandbox.env")
	for range 3000 {
		if _, err := os.Stat(env); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	table := filepath.Join(dir, "control", "domains", "example.test", "users")
	lines, err := os.ReadFile(table)
	if err != nil {
		return nil, err
	}
	for i := range users {
		lines = fmt.Appendf(lines, "u%02d:{PLAIN}bench::::::\n", i)
	}
	lines = append(lines, "reader:{PLAIN}bench::::::\n"...)
	if err := os.WriteFile(table, lines, 0o600); err != nil {
		return nil, err
	}
	mail := filepath.Join(dir, "mail", "example.test")
	if err := fill(filepath.Join(mail, "reader", "Maildir"), 0); err != nil {
		return nil, err
	}
	return &peer{name: "peyk", smtp: "127.0.0.1:13025", imap: "127.0.0.1:13143", domain: "example.test", mail: mail + "/%s/Maildir",
		startTLS: true, login: "reader@example.test", password: "bench", roots: pidsOf(filepath.Join(dir, "run")), stop: end(cmd)}, nil
}

// pidsOf returns the pids of a sandbox's daemons.
func pidsOf(run string) func() []int {
	return func() []int {
		var pids []int
		files, _ := filepath.Glob(filepath.Join(run, "*.pid"))
		for _, file := range files {
			b, _ := os.ReadFile(file)
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				pids = append(pids, pid)
			}
		}
		return pids
	}
}

func makeMaildirs(mail string) error {
	for i := range users {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(mail, fmt.Sprintf("u%02d", i), "Maildir", sub), 0o700); err != nil {
				return err
			}
		}
	}
	return chownAll(mail, owner)
}

// startPostfix starts a Postfix with virtual(8) delivery, its defaults, and
// file log.
func startPostfix(dir string) (*peer, error) {
	port := freePort()
	mail := filepath.Join(dir, "mail")
	for _, sub := range []string{"etc", "spool", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
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
	files := map[string]string{"etc/boxes": boxes.String(), "etc/main.cf": fmt.Sprintf(postfixMain, dir, mail, owner), "etc/master.cf": fmt.Sprintf(postfixMaster, port)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	cmd, err := background("127.0.0.1:"+port, "postfix", "-c", filepath.Join(dir, "etc"), "start-fg")
	if err != nil {
		return nil, err
	}
	return &peer{name: "postfix", smtp: "127.0.0.1:" + port, domain: "example.test", mail: mail + "/%s/Maildir",
		roots: func() []int { return []int{cmd.Process.Pid} },
		stop:  func() { exec.Command("postfix", "-c", filepath.Join(dir, "etc"), "stop").Run(); end(cmd)() }}, nil
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
`

const postfixMaster = `127.0.0.1:%s inet n - n - - smtpd
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

// startOpenSMTPD starts the OpenSMTPD unpacked below root, in a mount
// namespace of its own, because its paths are compiled in.
func startOpenSMTPD(root, dir string) (*peer, error) {
	port := freePort()
	mail := filepath.Join(dir, "mail")
	for _, sub := range []string{"etc", "spool"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	os.Chmod(filepath.Join(dir, "spool"), 0o711)
	if err := makeMaildirs(mail); err != nil {
		return nil, err
	}
	var accounts, virtual strings.Builder
	for i := range users {
		fmt.Fprintf(&accounts, "u%02d %d:%d:%s/u%02d\n", i, owner, owner, mail, i)
		fmt.Fprintf(&virtual, "u%02d@example.test u%02d\n", i, i)
	}
	conf := fmt.Sprintf("table accounts file:%[1]s/etc/accounts\ntable virtual file:%[1]s/etc/virtual\nlisten on 127.0.0.1 port %[2]s hostname mx.example.test\n"+
		"action \"box\" maildir \"%[3]s/%%{user.username}/Maildir\" virtual <virtual> userbase <accounts>\nmatch from any for domain \"example.test\" action \"box\"\n", dir, port, mail)
	start := fmt.Sprintf("set -e\nmkdir -p /usr/libexec/opensmtpd /var/lib/opensmtpd/empty /var/spool/smtpd\nmount --bind %[1]s/usr/libexec/opensmtpd /usr/libexec/opensmtpd\nmount --bind %[2]s/spool /var/spool/smtpd\nexec %[1]s/usr/sbin/smtpd -F -f %[2]s/etc/smtpd.conf\n", root, dir)
	for name, text := range map[string]string{"etc/accounts": accounts.String(), "etc/virtual": virtual.String(), "etc/smtpd.conf": conf, "etc/start": start} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	cmd, err := background("127.0.0.1:"+port, "unshare", "-m", "bash", filepath.Join(dir, "etc", "start"))
	if err != nil {
		return nil, err
	}
	return &peer{name: "opensmtpd", smtp: "127.0.0.1:" + port, domain: "example.test", mail: mail + "/%s/Maildir",
		roots: func() []int { return []int{cmd.Process.Pid} }, stop: end(cmd)}, nil
}

// startDovecot starts a Dovecot's IMAP on a copy of the mailbox to read.
func startDovecot(dir string) (*peer, error) {
	port := freePort()
	mail := filepath.Join(dir, "mail")
	if err := fill(filepath.Join(mail, "reader", "Maildir"), owner); err != nil {
		return nil, err
	}
	if err := chownAll(mail, owner); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
mail_uid = %[2]d
mail_gid = %[2]d
first_valid_uid = %[2]d
passdb {
  driver = static
  args = password=bench
}
userdb {
  driver = static
  args = uid=%[2]d gid=%[2]d home=%[3]s/%%n
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  inet_listener imap {
    port = %[4]s
  }
}
`, dir, owner, mail, port)
	file := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	cmd, err := background("127.0.0.1:"+port, "dovecot", "-F", "-c", file)
	if err != nil {
		return nil, err
	}
	return &peer{name: "dovecot", imap: "127.0.0.1:" + port, login: "reader@example.test", password: "bench",
		roots: func() []int { return []int{cmd.Process.Pid} }, stop: end(cmd)}, nil
}
