// Package serving has what every listener of Gridlatch needs, so that a stranger who reaches a port
// can neither fill the memory nor keep others from being answered.
//
//   - [NewServer] returns an HTTP server with time-outs and small headers. The server speaks only
//     HTTP/1, as the API server does to webhooks (k8s.io/apiserver, package util/webhook), and as
//     kube-scheduler does to its extender, with one request at a time. Nobody would use the
//     streams and buffers of HTTP/2.
//   - [Bound] bounds the connections of a listener. If the listener is full, the caller with the
//     most connections loses its oldest one.
//   - [Authenticate] admits only callers with a certificate.
//   - An [Intake] bounds the bodies of requests, how many of them are in memory at once, and how
//     many answers are made at once.
//   - A [Reader] reads only the wanted parts of a body, and each part only up to a length. Decoding
//     a whole body into Go values takes many times its length: 6.6 MB of empty containers become
//     300 MB.
//   - A [Review] is what is read of an AdmissionReview.
package serving
