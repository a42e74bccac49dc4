package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// startDovecot starts a Dovecot's IMAP and LMTP on a copy of the mailbox to
// read.
func startDovecot(dir, certs string, messages int) (*peer, error) {
	imap, imaps, lmtp, pop3 := freePort(), freePort(), freePort(), freePort()
	mail := filepath.Join(dir, "mail")
	if err := os.MkdirAll(mail, 0o755); err != nil {
		return nil, err
	}
	if err := fill(filepath.Join(mail, "reader", "Maildir"), owner, messages); err != nil {
		return nil, err
	}
	if err := chownAll(mail, owner); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(dovecotMain, dir, "imap pop3 lmtp", "yes") + fmt.Sprintf(dovecotMail, mail, owner, imap, lmtp, imaps, pop3, certs)
	if err := writeFiles(dir, map[string]string{"dovecot.conf": conf}); err != nil {
		return nil, err
	}
	cmd, err := background(answers("127.0.0.1:"+imap), "dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if err != nil {
		return nil, err
	}
	return &peer{name: "dovecot", imap: "127.0.0.1:" + imap, imaps: "127.0.0.1:" + imaps,
		pop3: "127.0.0.1:" + pop3, mail: mail + "/%s/Maildir", lmtp: "127.0.0.1:" + lmtp, domain: "example.test", password: "bench",
		roots: root(cmd), stop: end(cmd)}, nil
}

const dovecotMain = `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = %[2]s
listen = 127.0.0.1
ssl = %[3]s
disable_plaintext_auth = no
`

const dovecotMail = `mail_location = maildir:~/Maildir
mail_uid = %[2]d
mail_gid = %[2]d
first_valid_uid = %[2]d
mail_max_userip_connections = 1000
ssl_cert = <%[7]s/fullchain.pem
ssl_key = <%[7]s/privkey.pem
passdb {
  driver = static
  args = password=bench
}
userdb {
  driver = static
  args = uid=%[2]d gid=%[2]d home=%[1]s/%%n allow_all_users=yes
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  inet_listener imap {
    port = %[3]s
  }
  inet_listener imaps {
    port = %[5]s
    ssl = yes
  }
}
service imap {
  process_limit = 2000
}
service pop3-login {
  service_count = 0
  process_min_avail = 2
  inet_listener pop3 {
    port = %[6]s
  }
  inet_listener pop3s {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    port = %[4]s
  }
}
`

// startSASL starts a Dovecot that only checks the logins of Postfix, at the
// socket DIR/sasl.
func startSASL(dir string) (stop func(), roots func() []int, err error) {
	var table strings.Builder
	for i := range users {
		fmt.Fprintf(&table, "u%02d@example.test:{PLAIN}bench::::::\n", i)
	}
	conf := fmt.Sprintf(dovecotMain, dir, "", "no") + fmt.Sprintf(dovecotSASL, dir)
	if err := writeFiles(dir, map[string]string{"dovecot.conf": conf, "users": table.String()}); err != nil {
		return nil, nil, err
	}
	cmd, err := background(exists(filepath.Join(dir, "sasl")), "dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if err != nil {
		return nil, nil, err
	}
	return end(cmd), root(cmd), nil
}

const dovecotSASL = `passdb {
  driver = passwd-file
  args = %[1]s/users
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}
service auth {
  unix_listener %[1]s/sasl {
    mode = 0666
  }
}
`
