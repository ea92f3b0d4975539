package main

import (
	"errors"
	"net/http"
	"testing"
)

func TestAReplicaThatWasReadyStaysReady(t *testing.T) {
	var err error
	check := onceReady(func(*http.Request) error { return err })
	err = errors.New("a forecast has not been looked at yet")
	if check(nil) == nil {
		t.Error("it is ready at once")
	}
	if err = nil; check(nil) != nil {
		t.Error("it does not get ready")
	}
	if err = errors.New("the API server is slow"); check(nil) != nil {
		t.Error("it does not stay ready")
	}
}
