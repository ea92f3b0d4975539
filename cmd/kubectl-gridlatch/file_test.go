package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsWrittenAsAWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "f"), filepath.Join(dir, "l")
	if err := errors.Join(os.WriteFile(target, []byte("old"), 0o640), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	wantContent := func(want string, entries int) {
		t.Helper()
		got, err := os.ReadFile(target)
		if err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
		if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("mode %s, %v, want that of the old file", info.Mode(), err)
		}
		if found, _ := os.ReadDir(dir); len(found) != entries {
			t.Errorf("the folder has %s", found)
		}
	}
	broken := errors.New("broken")
	if err := writeFile(target, func(w io.Writer) error {
		_, _ = io.WriteString(w, "half") // the error below is the one that counts
		wantContent("old", 3)
		return broken
	}); !errors.Is(err, broken) {
		t.Errorf("%v, want broken", err)
	}
	wantContent("old", 2)
	if err := writeFile(link, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
		t.Error(err)
	}
	wantContent("new", 2)
	if info, err := os.Lstat(link); err != nil || info.Mode().IsRegular() {
		t.Errorf("the link is gone: %v", err)
	}
}

func TestANewFileCanBeReadByOthersAndADeviceStays(t *testing.T) {
	target := filepath.Join(t.TempDir(), "f")
	write := func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }
	if err := writeFile(target, write); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != fileMode {
		t.Errorf("mode %s, %v", info.Mode(), err)
	}
	if err := writeFile(os.DevNull, write); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%s is a file now: %v", os.DevNull, err)
	}
}
