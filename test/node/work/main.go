// Command work is the workload of tests on the real node. It prints a line, works for a while, and ends as it is told.
// It ends early with code 143 when it is asked to.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	duration := flag.Duration("for", time.Second, "how long to work")
	code := flag.Int("exit", 0, "the exit code")
	flag.Parse()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	fmt.Printf("working for %v as user %d\n", *duration, os.Getuid())
	select {
	case <-time.After(*duration):
		fmt.Println("done")
		os.Exit(*code)
	case <-ended:
		os.Exit(143)
	}
}
