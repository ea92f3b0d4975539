// Command packaging makes what a release of Gridlatch consists of, out of what make has built. `make
// release` calls the commands in this order:
//
//	check    refuses what cannot become a release, before anything is built
//	begin    empties dist and writes the public key, and so proves that the key works
//	image    makes the image of several platforms, and its reference
//	finish   makes all else but install.yaml and the chart; pushes the image and the chart; signs
//
// The same commit makes the same bytes, at any time and in any directory: all times are the time of
// the commit. Only signatures differ.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "make release:", err)
		os.Exit(1)
	}
}

// release is what a release is made from.
type release struct {
	version  string // such as v1.2.3
	registry string // where the image and the chart are, such as ghcr.io/gridlatch
	push     bool   // says whether the registry gets the image and the chart
	key      string // signs, as cosign reads keys; empty: nothing is signed
	top      string // the source tree
	dist     string // what is made
	binaries string // what make has built, one directory for each platform, such as linux_arm64
	cosign   string
	sbom     string // cyclonedx-gomod
	commit   commit
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, *release) error{
		"check": check, "begin": begin, "image": makeImage, "finish": finish,
	}
	r := &release{}
	f := flag.NewFlagSet("packaging", flag.ContinueOnError)
	f.StringVar(&r.version, "version", "", "version of the release, such as v1.2.3")
	f.StringVar(&r.registry, "registry", "", "registry and path of the image and the chart, such as ghcr.io/gridlatch")
	f.BoolVar(&r.push, "push", false, "push to the registry")
	f.StringVar(&r.key, "key", "", "key for the signatures, as cosign reads keys; empty: nothing is signed")
	f.StringVar(&r.top, "top", "..", "directory of the source")
	f.StringVar(&r.dist, "dist", "../dist", "directory for what is made")
	f.StringVar(&r.binaries, "binaries", "../bin/release", "directory with a directory of commands for each platform")
	f.StringVar(&r.cosign, "cosign", "", "path of cosign")
	f.StringVar(&r.sbom, "cyclonedx-gomod", "", "path of cyclonedx-gomod")
	if len(args) == 0 || commands[args[0]] == nil {
		return fmt.Errorf("packaging %s: want check, begin, image or finish", strings.Join(args[:min(len(args), 1)], ""))
	}
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("packaging: unknown argument %q", f.Arg(0))
	}
	if err := checkVersion(r.version); err != nil {
		return err
	}
	var err error
	if r.commit, err = readCommit(ctx, r.top); err != nil {
		return err
	}
	return commands[args[0]](ctx, r)
}

// platforms returns the platforms for which make has built a command. The names are those of the
// directories, such as linux_arm64, in the order of the alphabet.
func (r *release) platforms(command string) ([]string, error) {
	entries, err := os.ReadDir(r.binaries)
	if err != nil {
		return nil, err
	}
	var platforms []string
	for _, entry := range entries {
		if _, err := os.Stat(r.binary(entry.Name(), command)); err == nil {
			platforms = append(platforms, entry.Name())
		}
	}
	if len(platforms) == 0 {
		return nil, fmt.Errorf("%s has no %s; run: make release-binaries", r.binaries, command)
	}
	slices.Sort(platforms)
	return platforms, nil
}
