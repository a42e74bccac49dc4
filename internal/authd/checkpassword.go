package authd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
)

// Exit statuses of the checkpassword interface.
const (
	wrongLogin = 1   // the login is refused
	misused    = 2   // checkpassword was called wrongly
	notNow     = 111 // nobody can tell now
)

// loginFD is where checkpassword finds the login, and maxLogin how long it may
// be.
const (
	loginFD  = 3
	maxLogin = 512
)

// wantsCheckpassword reports whether the flags, which end at the first
// argument that is none, ask for the checkpassword interface.
func wantsCheckpassword(args []string) bool {
	set := checkpasswordFlags()
	return set.Parse(args[1:]) == nil && set.Lookup("checkpassword").Value.String() == "true"
}

// checkpasswordFlags are the daemon's own, read without its frame: a program
// that runs once a login opens no log and starts no thread.
func checkpasswordFlags() *flag.FlagSet {
	set := flag.NewFlagSet("authd", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Bool("checkpassword", false, "")
	dir := os.Getenv("PEYK_CONTROL")
	if dir == "" {
		dir = control.DefaultDir
	}
	set.String("control", dir, "")
	for _, s := range control.Of("authd") {
		set.String(s.Name, "", "")
	}
	return set
}

// checkpasswordMain checks the login on descriptor 3 and becomes the program
// that its arguments name.
func checkpasswordMain(args []string) int {
	set := checkpasswordFlags()
	set.Parse(args[1:])
	c, err := control.Load(set.Lookup("control").Value.String(), control.Of("authd"), givenFlags(set))
	if err != nil {
		fmt.Fprintf(os.Stderr, "authd: %v\n", err)
		return notNow
	}
	in := os.NewFile(loginFD, "login")
	user, code := checkOne(c, in)
	in.Close()
	if code != 0 {
		return code
	}
	return become(user, set.Args())
}

func givenFlags(set *flag.FlagSet) map[string]string {
	given := make(map[string]string)
	set.Visit(func(f *flag.Flag) {
		if f.Name != "control" && f.Name != "checkpassword" {
			given[f.Name] = f.Value.String()
		}
	})
	return given
}

// checkOne reads "user\0password\0timestamp\0" and checks it. There is no
// delay for a network: the caller knows who is at the other end, we do not.
func checkOne(c *control.Config, in io.Reader) (dovecotauth.User, int) {
	b, err := io.ReadAll(io.LimitReader(in, maxLogin+1))
	if err != nil {
		return dovecotauth.User{}, notNow
	}
	f := strings.Split(string(b), "\x00")
	if len(b) > maxLogin || len(f) < 3 {
		return dovecotauth.User{}, misused
	}
	s := New(c, Options{Log: new(eventlog.Log)})
	ctx := context.Background()
	a := s.begin("checkpassword", netip.Addr{}, s.options.Log)
	err = a.password(ctx, credentials{authcid: f[0], password: f[1]})
	if err == nil {
		err = a.admit(ctx)
	}
	if err != nil {
		return dovecotauth.User{}, codeOf(err)
	}
	u, found, err := s.User(ctx, "checkpassword", a.user.String())
	if err != nil || !found {
		return dovecotauth.User{}, notNow
	}
	return u, 0
}

func codeOf(err error) int {
	var no refusal
	if errors.As(err, &no) {
		return wrongLogin
	}
	fmt.Fprintf(os.Stderr, "authd: %v\n", err)
	return notNow
}

// become runs the program in the user's home, with the user's ids when we may
// give ours up. It returns only if that fails.
func become(u dovecotauth.User, args []string) int {
	if len(args) == 0 {
		return misused
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = dropTo(u)
	}
	if err == nil {
		err = os.Chdir(u.Home)
	}
	if err == nil {
		err = syscall.Exec(path, args, environment(u))
	}
	fmt.Fprintf(os.Stderr, "authd: cannot run %s for the user: %v\n", args[0], err)
	return notNow
}

// dropTo takes the ids of the account on, if root runs us and it has some.
func dropTo(u dovecotauth.User) error {
	if os.Geteuid() != 0 || u.UID < 0 {
		return nil
	}
	if u.GID < 0 {
		return errors.New("the account has a uid but no gid")
	}
	if err := syscall.Setgroups([]int{u.GID}); err != nil {
		return err
	}
	if err := syscall.Setgid(u.GID); err != nil {
		return err
	}
	return syscall.Setuid(u.UID)
}

// environment is ours with what checkpassword promises. The userdb_ names and
// EXTRA are for Dovecot's checkpassword-reply.
func environment(u dovecotauth.User) []string {
	set := []string{"USER=" + u.Name, "HOME=" + u.Home, "SHELL=/bin/sh", "MAILDIR=" + strings.TrimPrefix(u.Mail, "maildir:"), "userdb_mail=" + u.Mail}
	extra := "userdb_mail"
	if u.UID >= 0 && u.GID >= 0 {
		set = append(set, "userdb_uid="+strconv.Itoa(u.UID), "userdb_gid="+strconv.Itoa(u.GID))
		extra += " userdb_uid userdb_gid"
	}
	set = append(set, "EXTRA="+extra)
	env := slices.DeleteFunc(os.Environ(), func(old string) bool {
		name, _, _ := strings.Cut(old, "=")
		return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	})
	return append(env, set...)
}
