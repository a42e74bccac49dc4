// Package sendmail is the sendmail(1) command, which every program that sends
// mail knows: it takes a message from standard input and makes it durable in
// the drop. It needs no daemon for that. As mailq it lists the queue, as
// newaliases it checks the aliases.
package sendmail

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"peyk/internal/address"
	"peyk/internal/commit"
	"peyk/internal/control"
	"peyk/internal/spool"
	"peyk/internal/status"
	"peyk/internal/sysexits"
	"peyk/internal/table"
	"peyk/internal/version"
)

// program is one run, with everything from outside.
type program struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Control        string // directory, from the environment; -C takes precedence
	UID            int
	User           string // login name of the caller
	Gecos          string // field of the password file
	Now            func() time.Time
	Rand           io.Reader
	Disk           *commit.Disk

	name   string
	cmd    *command
	config *control.Config
	origin string // see domain
}

// Main is sendmail(1), mailq(1) and newaliases(1); it returns the exit status.
func Main(args []string) int {
	p := &program{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Control: os.Getenv("PEYK_CONTROL"), UID: os.Getuid(), Now: time.Now, Rand: rand.Reader, Disk: new(commit.Disk),
	}
	p.User = fmt.Sprintf("uid%d", p.UID)
	if u, err := user.Current(); err == nil {
		p.User, p.Gecos = u.Username, u.Name
	}
	return p.main(args)
}

func (p *program) main(args []string) int {
	p.name = "sendmail"
	cmd, err := parse(args)
	if err != nil {
		return p.fail(sysexits.Usage, err)
	}
	p.cmd = cmd
	if cmd.version {
		fmt.Fprintf(p.Stdout, "sendmail %s (Peyk)\n", version.Version)
		return sysexits.OK
	}
	if err := p.load(); err != nil {
		return p.fail(sysexits.Config, err)
	}
	switch cmd.mode {
	case listMode:
		return p.listQueue()
	case aliasMode:
		return p.checkAliases()
	case smtpMode:
		return p.smtp()
	case flushMode:
		return p.flush()
	}
	return p.send()
}

func (p *program) fail(code int, err error) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(p.Stderr, "%s: %s\n", p.name, line)
	}
	return code
}

// load reads the configuration. Without one the defaults hold, so that mail
// can be sent before anything is set up.
func (p *program) load() error {
	dir := p.cmd.control
	if dir == "" {
		dir = p.Control
	}
	if dir == "" {
		dir = control.DefaultDir
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("cannot read the configuration: %s is not a directory", dir)
	} else if err != nil && p.cmd.control != "" {
		return fmt.Errorf("cannot read the configuration: %w", err)
	}
	var err error
	p.config, err = control.Load(dir, control.Of("sendmail"), nil)
	return err
}

func (p *program) hostname() string {
	if name := p.config.Text(control.Hostname); name != "" {
		return name
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "localhost"
}

// domain is what addresses without a domain get: the local domain that the
// host is in, else the host's name.
func (p *program) domain() string {
	if p.origin != "" {
		return p.origin
	}
	p.origin = strings.ToLower(p.hostname())
	domains := table.OpenDomains(p.config.Dir())
	for name := p.origin; name != ""; _, name, _ = strings.Cut(name, ".") {
		if ok, err := domains.Has(name); err == nil && ok {
			p.origin = name
			break
		}
	}
	return p.origin
}

func (p *program) drop() *spool.Drop { return spool.OpenDrop(p.config.Text(control.Spool), p.Disk) }
func (p *program) maxSize() int64    { return p.config.Size(control.MessageSize) }
func (p *program) hopLimit() int     { return p.config.Int(control.HopLimit) }

// send queues the message on standard input.
func (p *program) send() int {
	j, err := p.job()
	if err != nil {
		return p.fail(sysexits.Usage, err)
	}
	if len(j.recipients) == 0 && !j.fromHeader {
		return p.fail(sysexits.Usage, errors.New("no recipient; name some, or use -t to take them from the header"))
	}
	id, err := j.queue(newWire(p.Stdin, !p.cmd.ignoreDots))
	if err != nil {
		return p.fail(exitStatus(err), describe(err))
	}
	if p.cmd.verbose {
		fmt.Fprintf(p.Stderr, "%s: queued as %s\n", p.name, id)
	}
	return sysexits.OK
}

// describe keeps a causes' text for the person who called.
func describe(err error) error {
	if errors.Is(err, errNobody) {
		return errors.New("no recipient in To, Cc or Bcc; name some on the command line")
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w; only members of the group peyk-drop may queue mail", err)
	}
	return err
}

func exitStatus(err error) int {
	var e *status.Error
	switch {
	case errors.Is(err, errNobody):
		return sysexits.Usage
	case errors.As(err, &e) && (e.Enhanced == "5.1.3" || e.Enhanced == "5.5.3" || e.Enhanced == "5.6.0" || e.Enhanced == "5.3.4" || e.Enhanced == "5.5.4"):
		return sysexits.DataErr
	}
	return status.Of(err).Exit()
}

// job makes what the command line says into a message to come.
func (p *program) job() (*job, error) {
	j := &job{
		p: p, fromHeader: p.cmd.fromHeader, body: p.cmd.body, ret: p.cmd.ret, envID: p.cmd.envID,
		fullName: p.cmd.fullName,
	}
	var err error
	if j.notify, err = notify(p.cmd.notify); err != nil {
		return nil, err
	}
	if len(j.envID) > 100 || strings.ContainsFunc(j.envID, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, errors.New("option -V must be at most 100 printable characters") // RFC 3461 §4.4
	}
	if err := p.authorship(j); err != nil {
		return nil, err
	}
	for _, arg := range p.cmd.recipients {
		list, err := mailboxes(arg, p.domain())
		if err != nil {
			return nil, err
		}
		j.recipients = append(j.recipients, list...)
	}
	return j, nil
}

// authorship sets who sends: the caller, unless -f and -F say otherwise.
func (p *program) authorship(j *job) error {
	me, err := qualified(p.User, p.domain())
	if err != nil {
		me = address.Address{Local: p.User, Domain: p.domain()}
	}
	j.from, j.author = me, me
	if j.fullName == "" && !p.cmd.senderSet {
		j.fullName = p.realName()
	}
	if !p.cmd.senderSet {
		return nil
	}
	list, err := mailboxes(p.cmd.sender, p.domain())
	if err != nil {
		return err
	}
	switch {
	case len(list) > 1:
		return errors.New("option -f must be one address")
	case len(list) == 0: // "" and "<>" are the null sender
		j.from = address.Address{}
	default:
		j.from, j.author = list[0], list[0]
	}
	return nil
}

// realName returns the name in the gecos field; an ampersand there is the
// login name, capitalised.
func (p *program) realName() string {
	name, _, _ := strings.Cut(p.Gecos, ",")
	login := p.User
	if login != "" {
		login = strings.ToUpper(login[:1]) + login[1:]
	}
	return strings.ReplaceAll(name, "&", login)
}

func (p *program) flush() int {
	if err := p.drop().Flush(); err != nil {
		return p.fail(sysexits.TempFail, err)
	}
	return sysexits.OK
}

// checkAliases is newaliases: there is no database to build, so it looks for
// mistakes.
func (p *program) checkAliases() int {
	code := sysexits.OK
	for _, err := range table.OpenDomains(p.config.Dir()).Check() {
		var line *table.LineError
		if errors.As(err, &line) {
			code = sysexits.Config
		}
		p.fail(code, err)
	}
	return code
}
