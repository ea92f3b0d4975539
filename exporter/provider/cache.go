package provider

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// maxCachedSize bounds the bytes of all responses that are kept for comparison.
	maxCachedSize = 4 << 20
	// cachedOverhead is about how many bytes an entry takes besides its texts.
	cachedOverhead = 256
)

// A responseCache keeps the last responses that have an ETag or a time of modification, so that a
// server need not send them again. A client has one key, so that all responses to a URL are to the
// same customer. The zero responseCache is empty.
type responseCache struct {
	// untilExpiry says that responses without an ETag and a time of modification are kept until they
	// expire, and that all are kept compressed: a zone has many of them.
	untilExpiry bool

	mu      sync.Mutex
	entries map[string]cachedResponse // by URL
	order   []string                  // the URLs, the one kept first at the front
	size    int
}

type cachedResponse struct {
	etag, modified string
	expires        time.Time // zero if the server does not say
	body           []byte
	size           int // of all that the entry takes
}

// prepare sets the headers that ask for a response only if it has changed. It returns the response
// that is known, or nil.
func (c *responseCache) prepare(url string, header http.Header) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.entries[url]
	if !ok {
		return nil
	}
	if known.etag != "" {
		header.Set("If-None-Match", known.etag)
	}
	if known.modified != "" {
		header.Set("If-Modified-Since", known.modified)
	}
	return c.plain(known.body)
}

// fresh returns a response that has not expired, or nil. A response that is good for longer than a day is
// an error of its server, or of the clock.
func (c *responseCache) fresh(url string, now time.Time) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.entries[url]; ok && now.Before(known.expires) && known.expires.Sub(now) <= maxFreshTime {
		return c.plain(known.body)
	}
	return nil
}

// maxFreshTime bounds for how long a server is not asked.
const maxFreshTime = 24 * time.Hour

// renew notes until when a response is good that has not changed.
func (c *responseCache) renew(url string, header http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.entries[url]; ok {
		known.expires = expiryOf(header)
		c.entries[url] = known
	}
}

func expiryOf(header http.Header) time.Time {
	expires, _ := http.ParseTime(header.Get("Expires")) // zero if there is none
	return expires
}

// keep notes a response. It forgets the oldest ones if all are too large together.
func (c *responseCache) keep(url string, header http.Header, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(url)
	if c.untilExpiry {
		body = compressed(body)
	}
	entry := cachedResponse{etag: header.Get("ETag"), modified: header.Get("Last-Modified"), expires: expiryOf(header), body: bytes.Clone(body)}
	entry.size = len(body) + 2*len(url) + len(entry.etag) + len(entry.modified) + cachedOverhead
	isUseful := entry.etag != "" || entry.modified != "" || c.untilExpiry && !entry.expires.IsZero()
	if !isUseful || entry.size > maxCachedSize/4 {
		return
	}
	if c.entries == nil {
		c.entries = map[string]cachedResponse{}
	}
	c.entries[url] = entry
	c.order = append(c.order, url)
	c.size += entry.size
	for c.size > maxCachedSize {
		c.forget(c.order[0])
	}
}

func (c *responseCache) forget(url string) {
	entry, ok := c.entries[url]
	if !ok {
		return
	}
	c.size -= entry.size
	delete(c.entries, url)
	for i := range c.order {
		if c.order[i] == url {
			c.order = append(c.order[:i], c.order[i+1:]...)
			return
		}
	}
}

// compressed returns a body as it is kept.
func compressed(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// plain returns a body that was kept; nil if that cannot be read.
func (c *responseCache) plain(kept []byte) []byte {
	if !c.untilExpiry {
		return kept
	}
	z, err := gzip.NewReader(bytes.NewReader(kept))
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(z)
	if err != nil {
		return nil
	}
	return body
}
