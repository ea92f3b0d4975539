package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestWhatCannotBecomeAReleaseIsRefused(t *testing.T) {
	registry := startRegistry(t)
	source := t.TempDir()
	call(t, source, "git", "init", "--quiet")
	call(t, source, "git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--allow-empty", "--message=test")
	dirty := t.TempDir()
	if err := os.CopyFS(dirty, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dirty, "new.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		want string // empty: allowed
	}{
		{"a version of a clean tree", []string{"-version", "v1.2.3"}, ""},
		{"a version before the release", []string{"-version", "v1.2.3-rc.1"}, ""},
		{"with a key, and a registry to push to", []string{"-version", "v1.2.3", "-key", key, "-registry", registry + "/a/b", "-push"}, ""},
		{"with a key that a cloud keeps", []string{"-version", "v1.2.3", "-key", "awskms:///alias/x"}, ""},
		{"no version", nil, "VERSION is missing"},
		{"a version without v", []string{"-version", "1.2.3"}, "VERSION=1.2.3: want vMAJOR.MINOR.PATCH"},
		{"half a version", []string{"-version", "v1.2"}, "VERSION=v1.2: want"},
		{"a version that no tag can have", []string{"-version", "v1.2.3+x"}, "VERSION=v1.2.3+x: want"},
		{"files that are not committed", []string{"-version", "v1.2.3", "-top", dirty}, "not committed: 1. A release is made of a commit: commit or remove\n  ?? new.go"},
		{"no repository", []string{"-version", "v1.2.3", "-top", t.TempDir()}, "find the commit that the release is made of"},
		{"a key that is not there", []string{"-version", "v1.2.3", "-key", key + "s"}, "KEY=" + key + "s: want a file"},
		{"a registry that is away", []string{"-version", "v1.2.3", "-registry", "127.0.0.1:1/a", "-push"}, "REGISTRY=127.0.0.1:1/a: cannot push"},
		{"a registry that is no name", []string{"-version", "v1.2.3", "-registry", "https://ghcr.io/a"}, "REGISTRY=https://ghcr.io/a: want HOST/PATH"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"check", "-top", source, "-registry", "example.com/a"}, tc.args...)
			err := run(t.Context(), args)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestAPushedVersionNeverChanges(t *testing.T) {
	r := &release{version: "v1.2.3", registry: startRegistry(t) + "/project"}
	image, err := r.image()
	if err != nil {
		t.Fatal(err)
	}
	index, other := randomIndex(t), randomIndex(t)
	for range 2 { // the second time, the registry has it
		if err := r.pushImage(t.Context(), index); err != nil {
			t.Fatal(err)
		}
	}
	err = r.pushImage(t.Context(), other)
	if err == nil || !strings.Contains(err.Error(), "A version never changes") {
		t.Errorf("error %v, want a refusal", err)
	}
	if got := pulledDigest(t, image); got != digestOf(t, index) {
		t.Errorf("the registry has %s now", got)
	}
}

func randomIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	index, err := random.Index(10, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func digestOf(t *testing.T, index v1.ImageIndex) v1.Hash {
	t.Helper()
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func pulledDigest(t *testing.T, image name.Tag) v1.Hash {
	t.Helper()
	found, err := remote.Head(image)
	if err != nil {
		t.Fatal(err)
	}
	return found.Digest
}
