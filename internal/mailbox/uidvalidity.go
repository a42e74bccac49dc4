package mailbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// uidvalidityName holds the last UIDVALIDITY that an account gave out, as
// eight hex digits. Beside it stands an empty file whose name ends in the
// same number; to rename it is to take the next number (Dovecot's scheme).
const uidvalidityName = "dovecot-uidvalidity"

// nextUIDValidity returns a UIDVALIDITY that no folder of this account has
// had: a folder that is removed and made again must not repeat one
// (RFC 3501 §2.3.1.1).
func (a *Account) nextUIDValidity(ctx context.Context) (uint32, error) {
	path := filepath.Join(a.root, uidvalidityName)
	lock, err := a.host.locks.lock(ctx, path+".lock", path)
	if err != nil {
		return 0, err
	}
	defer lock.release()
	last, err := readUIDValidity(path)
	if err != nil {
		return 0, err
	}
	next := max(last+1, uint32(a.host.o.Now().Unix()))
	if err := a.moveMarker(path, last, next); err != nil {
		return 0, err
	}
	return next, a.host.o.Disk.ReplaceFile(path, fmt.Appendf(nil, "%08x", next), 0o600)
}

func readUIDValidity(path string) (uint32, error) {
	text, err := readRegular(path, 64)
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(text), 16, 32)
	if err != nil {
		return 0, nil // broken: the clock decides
	}
	return uint32(n), nil
}

func (a *Account) moveMarker(path string, last, next uint32) error {
	marker := fmt.Sprintf("%s.%08x", path, next)
	err := a.host.o.Disk.RenameUnsynced(fmt.Sprintf("%s.%08x", path, last), marker)
	if !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(marker, os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o400)
	if err != nil {
		return err
	}
	return f.Close()
}

// folderGUID returns 32 hex digits that name a new folder.
func (h *Host) folderGUID() (string, error) {
	raw := make([]byte, 16)
	if err := h.random(raw); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", raw), nil
}
