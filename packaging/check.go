package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/mod/semver"
)

// maxFilesShown is how many changed files an error names.
const maxFilesShown = 5

// commit is the commit that a release is made of.
type commit struct {
	hash string
	time time.Time
}

// check refuses what cannot become a release.
func check(ctx context.Context, r *release) error {
	return errors.Join(checkTree(ctx, r.top), checkKey(r.key), r.checkRegistry())
}

// checkVersion wants a version as Go writes versions. A "+" is not allowed in the tag of an image.
func checkVersion(version string) error {
	if version == "" {
		return errors.New("VERSION is missing: want make release VERSION=v1.2.3")
	}
	if !semver.IsValid(version) || semver.Canonical(version) != version {
		return fmt.Errorf("VERSION=%s: want vMAJOR.MINOR.PATCH, such as v1.2.3 or v1.2.3-rc.1 (https://semver.org), without +", version)
	}
	return nil
}

// readCommit asks git for the commit of the source.
func readCommit(ctx context.Context, top string) (commit, error) {
	out, err := git(ctx, top, "show", "--no-patch", "--format=%H %ct", "HEAD")
	if err != nil {
		return commit{}, fmt.Errorf("find the commit that the release is made of: %w", err)
	}
	hash, seconds, _ := strings.Cut(strings.TrimSpace(out), " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return commit{}, fmt.Errorf("read the time of commit %s: %w", hash, err)
	}
	return commit{hash: hash, time: time.Unix(unix, 0).UTC()}, nil
}

// checkTree refuses a source with changes that no commit has. Users could not build such a release
// again.
func checkTree(ctx context.Context, top string) error {
	out, err := git(ctx, top, "status", "--porcelain")
	if err != nil {
		return fmt.Errorf("look for files that are not committed: %w", err)
	}
	changed := strings.Split(strings.TrimRight(out, "\n"), "\n")
	if changed[0] == "" {
		return nil
	}
	shown := changed[:min(len(changed), maxFilesShown)]
	return fmt.Errorf("files with changes that are not committed: %d. A release is made of a commit: commit or remove\n  %s",
		len(changed), strings.Join(shown, "\n  "))
}

func git(ctx context.Context, top string, args ...string) (string, error) {
	return output(exec.CommandContext(ctx, "git", append([]string{"-C", top}, args...)...))
}

// output runs a command and returns what the command prints. The error has what the command says of
// the failure.
func output(command *exec.Cmd) (string, error) {
	out, err := command.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}

// checkKey refuses a file that cannot be read. Keys of other kinds have a scheme, such as env:// or
// awskms://; cosign reads these keys.
func checkKey(key string) error {
	if key == "" || strings.Contains(key, "://") {
		return nil
	}
	file, err := os.Open(key)
	if err != nil {
		return fmt.Errorf("KEY=%s: want a file with a private key of cosign, or a key as cosign names keys, such as env://COSIGN_PRIVATE_KEY: %w", key, err)
	}
	return file.Close()
}

// checkRegistry refuses a registry that cannot be reached, or does not let us push.
func (r *release) checkRegistry() error {
	image, err := r.image()
	if err != nil {
		return err
	}
	if !r.push {
		return nil
	}
	if err := remote.CheckPushPermission(image, authn.DefaultKeychain, http.DefaultTransport); err != nil {
		return fmt.Errorf("REGISTRY=%s: cannot push %s: %w", r.registry, image, err)
	}
	return nil
}

// image returns the name of the image, with the version as its tag.
func (r *release) image() (name.Tag, error) {
	image, err := name.NewTag(r.registry+"/gridlatch:"+r.version, name.StrictValidation)
	if err == nil && strings.Contains(r.registry, "://") {
		err = errors.New("a scheme is not a part of the name")
	}
	if err != nil {
		return name.Tag{}, fmt.Errorf("REGISTRY=%s: want HOST/PATH, such as ghcr.io/gridlatch: %w", r.registry, err)
	}
	return image, nil
}
