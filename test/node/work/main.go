// Command work is the workload of tests on the real node. It prints a line, works for a while, and ends as it is told.
// It ends early with code 143 when it is asked to. With a directory for its state, it then saves how much it has done
// there, and goes on from that when it starts again.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	duration := flag.Duration("for", time.Second, "how long to work")
	code := flag.Int("exit", 0, "the exit code")
	state := flag.String("state", "", "a directory that keeps what is done; empty to begin anew")
	flag.Parse()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	before, began := load(*state), time.Now()
	fmt.Printf("working for %v as user %d, of which %v is done\n", *duration, os.Getuid(), before)
	select {
	case <-time.After(*duration - before):
		fmt.Println("done")
		os.Exit(*code)
	case <-ended:
		save(*state, before+time.Since(began))
		os.Exit(143)
	}
}

// load returns how much is done; zero if nothing was saved.
func load(directory string) time.Duration {
	if directory == "" {
		return 0
	}
	text, err := os.ReadFile(filepath.Join(directory, "done"))
	if os.IsNotExist(err) {
		return 0
	}
	done, err := time.ParseDuration(string(text))
	if err != nil {
		fmt.Println("cannot read what is done:", err)
		os.Exit(2)
	}
	return done
}

// save saves how much is done.
func save(directory string, done time.Duration) {
	if directory == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(directory, "done"), []byte(done.String()), 0o600); err != nil {
		fmt.Println("cannot save what is done:", err)
		os.Exit(2)
	}
}
