package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// begin empties dist for a release, and writes the public key of the signatures there. A key that does
// not work leaves dist as it is.
func begin(ctx context.Context, r *release) error {
	began := time.Now()
	var public string
	if r.key != "" {
		var err error
		if public, err = r.callCosign(ctx, "public-key", "--key", r.key); err != nil {
			return fmt.Errorf("KEY=%s: read the key (cosign takes its password from COSIGN_PASSWORD): %w", r.key, err)
		}
	}
	if err := os.RemoveAll(r.dist); err != nil {
		return err
	}
	if err := os.MkdirAll(r.dist, 0o755); err != nil || r.key == "" {
		return err
	}
	path := filepath.Join(r.dist, publicKey)
	if err := os.WriteFile(path, []byte(public), publicMode); err != nil {
		return err
	}
	reportFile(began, path)
	return nil
}

// publish pushes and signs the image and the chart.
func (r *release) publish(ctx context.Context) error {
	if !r.push {
		return nil
	}
	image, chart, err := r.names()
	if err != nil {
		return err
	}
	index, err := r.index()
	if err != nil {
		return err
	}
	packaged, err := r.chartImage()
	if err != nil {
		return fmt.Errorf("make the chart that a registry keeps: %w", err)
	}
	if err := r.pushTo(ctx, image, index); err != nil {
		return err // or there would be a chart whose image is not there
	}
	if err := r.pushTo(ctx, chart, packaged); err != nil || r.key == "" {
		return err
	}
	return errors.Join(r.signImage(ctx, image, index), r.signPushed(ctx, chart, packaged))
}

// artifact is what a registry keeps under a digest: an image, or an index of images.
type artifact interface {
	remote.Taggable
	Digest() (v1.Hash, error)
}

// pushTo pushes to a registry, under the version as the tag.
func (r *release) pushTo(ctx context.Context, tag name.Tag, a artifact) error {
	began := time.Now()
	if err := r.checkDigest(ctx, tag, a); err != nil {
		return err
	}
	if err := remote.Push(tag, a, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("REGISTRY=%s: push %s: %w", r.registry, tag, err)
	}
	fmt.Printf("  %5.1fs     pushed  %s\n", time.Since(began).Seconds(), tag)
	return nil
}

// checkDigest refuses to push anything else as a version that the registry has. The same is welcome:
// somebody may try a push again that has failed half-way.
func (r *release) checkDigest(ctx context.Context, tag name.Tag, a artifact) error {
	digest, err := a.Digest()
	if err != nil {
		return err
	}
	existing, err := remote.Head(tag, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	switch {
	case isNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("REGISTRY=%s: look for %s: %w", r.registry, tag, err)
	case existing.Digest != digest:
		return fmt.Errorf("REGISTRY=%s: %s is there with the digest %s, and this release has %s. A version never changes: choose another VERSION",
			r.registry, tag, existing.Digest, digest)
	}
	return nil
}

func isNotFound(err error) bool {
	refused, isRefused := errors.AsType[*transport.Error](err)
	return isRefused && refused.StatusCode == http.StatusNotFound
}

// signPushed signs what was pushed, and the images of an index.
func (r *release) signPushed(ctx context.Context, tag name.Tag, a artifact) error {
	began := time.Now()
	digest, err := a.Digest()
	if err != nil {
		return err
	}
	reference := tag.Digest(digest.String())
	if err := r.sign(ctx, "sign", "--recursive", reference.String()); err != nil {
		return fmt.Errorf("sign %s: %w", reference, err)
	}
	fmt.Printf("  %5.1fs     signed  %s\n", time.Since(began).Seconds(), reference)
	return nil
}

// signImage signs the image and the image of each platform, and attests the SBOM of each platform.
func (r *release) signImage(ctx context.Context, image name.Tag, index v1.ImageIndex) error {
	if err := r.signPushed(ctx, image, index); err != nil {
		return err
	}
	began := time.Now()
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, m := range manifest.Manifests {
		platform := m.Platform.OS + "_" + m.Platform.Architecture
		of := image.Digest(m.Digest.String())
		if err := r.attest(ctx, of, platform); err != nil {
			return fmt.Errorf("attest the SBOM of %s: %w", of, err)
		}
	}
	fmt.Printf("  %5.1fs   attested  the SBOM of each platform\n", time.Since(began).Seconds())
	return nil
}

func (r *release) attest(ctx context.Context, image name.Digest, platform string) error {
	return r.sign(ctx, "attest", "--type", "cyclonedx", "--predicate", r.bom("gridlatch", platform), image.String())
}

// signChecksums signs the checksums, and so all files.
func (r *release) signChecksums(ctx context.Context) error {
	if r.key == "" {
		return nil
	}
	began := time.Now()
	path := filepath.Join(r.dist, checksums)
	bundle := path + ".sigstore.json"
	if err := r.sign(ctx, "sign-blob", "--bundle", bundle, path); err != nil {
		return fmt.Errorf("sign %s: %w", path, err)
	}
	reportFile(began, bundle)
	return os.Chmod(bundle, publicMode)
}

// sign calls a command of cosign that signs with the key, without a log that the public can read: the
// key is enough to verify, also where the Internet cannot be reached.
func (r *release) sign(ctx context.Context, command string, args ...string) error {
	config := filepath.Join(r.top, "packaging", "signing-config.json")
	_, err := r.callCosign(ctx, append([]string{command, "--yes", "--key", r.key, "--signing-config", config}, args...)...)
	return err
}

func (r *release) callCosign(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, r.cosign, args...)
	// Without a password, cosign would ask on the terminal, and wait.
	if _, ok := os.LookupEnv("COSIGN_PASSWORD"); !ok {
		command.Env = append(os.Environ(), "COSIGN_PASSWORD=")
	}
	return output(command)
}
