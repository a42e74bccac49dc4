package queuerun

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/status"
	"peyk/internal/table"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTables(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "domains/here.test/aliases"), "all: ann, bob@here.test, x@far.test\nloop: loop2\nloop2: loop\n")
	write(t, filepath.Join(dir, "domains/catch.test/aliases"), "*: ann@here.test\n")
	write(t, filepath.Join(dir, "domains/broken.test/aliases"), "me: (((\n")
	routes, err := table.ParseRoutes([]string{"far.test smart.test:587", "near.test smart.test:587"})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	tables := &Tables{Domains: table.OpenDomains(dir), Routes: routes, Separator: "+", Hostname: "mx.here.test",
		Exists: func(a address.Address) (bool, error) {
			asked++
			if a.Local == "doubt" {
				return false, errors.New("userdb is down")
			}
			return a.Local == "known", nil
		}}
	local := func(a string) string { return "local " + a }
	for rcpt, want := range map[string][]string{
		"ann@here.test":      {local("ann@here.test")},
		"ann+x@HERE.test":    {local("ann+x@here.test")},
		"all@here.test":      {local("ann@here.test"), local("bob@here.test"), "smart.test:587 x@far.test"},
		"y@near.test":        {"smart.test:587 y@near.test"},
		"y@else.test":        {"else.test y@else.test"},
		"y@[192.0.2.1]":      {"192.0.2.1 y@[192.0.2.1]"},
		"known@catch.test":   {local("known@catch.test")},
		"unknown@catch.test": {local("ann@here.test")},
		"postmaster":         {local("ann@here.test")}, // catch.test is the first local domain
		`"a b"@here.test`:    {local(`"a b"@here.test`)},
	} {
		hops, err := tables.Route(rcpt)
		if err != nil {
			t.Errorf("%s: %v", rcpt, err)
			continue
		}
		var got []string
		for _, h := range hops {
			if h.Local {
				h.Destination = "local"
			}
			got = append(got, h.Destination+" "+h.Address)
		}
		slices.Sort(got)
		slices.Sort(want)
		if rcpt != "postmaster" && !slices.Equal(got, want) {
			t.Errorf("%s goes to %q, want %q", rcpt, got, want)
		}
	}
	if asked == 0 {
		t.Error("userdb was never asked")
	}
	for rcpt, temporary := range map[string]bool{"me@broken.test": true, "doubt@catch.test": true, "not an address": false, "a@b@c": false} {
		if _, err := tables.Route(rcpt); err == nil || status.Of(err).Temporary() != temporary {
			t.Errorf("%s: %v", rcpt, err)
		}
	}
}

func TestSettingsOf(t *testing.T) {
	dir := t.TempDir()
	load := func(flags map[string]string) (Settings, error) {
		c, err := control.Load(dir, control.Of("queue-run"), flags)
		if err != nil {
			t.Fatal(err)
		}
		return settingsOf(c)
	}
	s, err := load(map[string]string{"retry": `1m\n1d`, "hostname": "mx.here.test"})
	if err != nil || !slices.Equal(s.Retry, []time.Duration{time.Minute, 24 * time.Hour}) || s.Lifetime != 120*time.Hour || s.DelayWarning != 4*time.Hour {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = load(nil); err != nil || len(s.Retry) != 7 {
		t.Errorf("default: %+v, %v", s, err)
	}
	for _, bad := range []string{"soon", "0s", "500ms", " "} {
		var fe *control.FileError
		if _, err := load(map[string]string{"retry": bad}); !errors.As(err, &fe) {
			t.Errorf("retry=%q: %v", bad, err)
		}
	}
}

// queue-run must not give up on remote before remote does.
func TestRemoteIsWaitedFor(t *testing.T) {
	c, err := control.Load(t.TempDir(), control.Of("queue-run"), map[string]string{"remote-time-limit": "1h"})
	if err != nil {
		t.Fatal(err)
	}
	got, limit := remoteTimeouts(c), c.Duration(control.RemoteTimeLimit)
	if limit != time.Hour || got.Command <= limit || got.Write <= limit || got.Final <= limit {
		t.Errorf("waits %+v for a remote that may take %v", got, limit)
	}
}
