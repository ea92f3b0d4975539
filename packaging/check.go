package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/mod/semver"
)

const (
	// maxFilesShown is how many changed files an error names.
	maxFilesShown = 5

	// maxTagLength is how long the tag of an image may be.
	maxTagLength = 128

	// registryPatience is how long a registry may take to answer a question.
	registryPatience = 30 * time.Second
)

// commit is the commit that a release is made of.
type commit struct {
	hash string
	time time.Time
}

// check refuses what cannot become a release.
func check(ctx context.Context, r *release) error {
	return errors.Join(checkTree(ctx, r.top), r.checkTag(ctx), checkKey(r.key), r.checkRegistry(ctx))
}

// checkVersion wants a version as Go writes versions. The version is also the tag of an image, which
// has no "+" and a limited length.
func checkVersion(version string) error {
	if version == "" {
		return errors.New("VERSION is missing: want make release VERSION=v1.2.3")
	}
	if !semver.IsValid(version) || semver.Canonical(version) != version {
		return fmt.Errorf("VERSION=%s: want vMAJOR.MINOR.PATCH, such as v1.2.3 or v1.2.3-rc.1 (https://semver.org), without +", version)
	}
	if len(version) > maxTagLength {
		return fmt.Errorf("VERSION=%s: has %d characters, want at most %d", version, len(version), maxTagLength)
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

// checkTag refuses a version that is a tag of another commit. Users look for the source of a release
// under the tag.
func (r *release) checkTag(ctx context.Context) error {
	out, err := git(ctx, r.top, "for-each-ref", "--format=%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)", "refs/tags/"+r.version)
	if err != nil {
		return fmt.Errorf("look for the tag %s: %w", r.version, err)
	}
	if tagged := strings.TrimSpace(out); tagged != "" && tagged != r.commit.hash {
		return fmt.Errorf("VERSION=%s: git has this tag at commit %s, and the source is commit %s. Check the tag out, or choose another VERSION",
			r.version, tagged, r.commit.hash)
	}
	return nil
}

// checkKey refuses what cosign would not take as a private key, as far as this can be told without
// cosign, which takes minutes to build. cosign itself reads keys of other kinds, such as awskms://.
func checkKey(key string) error {
	variable, isVariable := strings.CutPrefix(key, "env://")
	if key == "" || strings.Contains(key, "://") && !isVariable {
		return nil
	}
	text := []byte(os.Getenv(variable))
	if !isVariable {
		var err error
		if text, err = os.ReadFile(key); err != nil {
			return fmt.Errorf("KEY=%s: want a file with a private key of cosign, or a key as cosign names keys, such as env://COSIGN_PRIVATE_KEY: %w", key, err)
		}
	}
	block, _ := pem.Decode(text)
	if block == nil || !slices.Contains([]string{"ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"}, block.Type) {
		return fmt.Errorf("KEY=%s: has no private key of cosign; cosign generate-key-pair makes one, and cosign import-key-pair takes another key over", key)
	}
	return nil
}

// checkRegistry refuses a registry that cannot be reached, does not let us push, or has the version of
// another commit.
func (r *release) checkRegistry(ctx context.Context) error {
	image, chart, err := r.names()
	if err != nil {
		return err
	}
	if !r.push {
		return nil
	}
	patient := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: registryPatience}).DialContext, TLSHandshakeTimeout: registryPatience,
		ResponseHeaderTimeout: registryPatience, ForceAttemptHTTP2: true,
	}
	defer patient.CloseIdleConnections()
	for _, tag := range []name.Tag{image, chart} {
		if err := remote.CheckPushPermission(tag, authn.DefaultKeychain, patient); err != nil {
			return fmt.Errorf("REGISTRY=%s: cannot push %s: %w", r.registry, tag, err)
		}
	}
	return r.checkPushed(ctx, image)
}

// checkPushed refuses a version that the registry has of another commit. A version of the same commit
// is welcome: somebody may try a push again that has failed half-way.
func (r *release) checkPushed(ctx context.Context, image name.Tag) error {
	pushed, err := remote.Index(image, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("REGISTRY=%s: look for %s: %w", r.registry, image, err)
	}
	manifest, err := pushed.IndexManifest()
	if err != nil {
		return fmt.Errorf("REGISTRY=%s: read %s: %w", r.registry, image, err)
	}
	if of := manifest.Annotations[revisionLabel]; of != r.commit.hash {
		return fmt.Errorf("REGISTRY=%s: has %s of commit %q already, and the source is commit %s. A version never changes: choose another VERSION",
			r.registry, image, of, r.commit.hash)
	}
	return nil
}

// names returns the names of the image and of the chart, with the version as the tag.
func (r *release) names() (image, chart name.Tag, err error) {
	image, err = name.NewTag(r.registry+"/gridlatch:"+r.version, name.StrictValidation)
	if err == nil && strings.Contains(r.registry+"/", "//") {
		err = errors.New("the name has no scheme, and no slash at the end")
	}
	if err == nil {
		chart, err = name.NewTag(r.registry+"/charts/gridlatch:"+r.version, name.StrictValidation)
	}
	if err != nil {
		return image, chart, fmt.Errorf("REGISTRY=%s: want HOST/PATH, such as ghcr.io/gridlatch: %w", r.registry, err)
	}
	return image, chart, nil
}
