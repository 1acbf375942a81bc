package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const timeout = 5 * time.Second

// files are the TLS settings made of what lies in a folder that a kubelet keeps.
type files struct {
	folder, expected string

	sync.Mutex
	seen string
	made *tls.Config
}

// outcome is what came of a call; the log has one on each line.
type outcome struct {
	At     float64 `json:"at"`
	OK     bool    `json:"ok"`
	Error  string  `json:"error,omitempty"`
	Ours   string  `json:"ours,omitempty"`
	Theirs string  `json:"theirs,omitempty"`
}

func peer(args []string) error {
	flags := flag.NewFlagSet("peer", flag.ExitOnError)
	listen := flags.Int("listen", 0, "port")
	dial := flags.Int("dial", 0, "port of the other")
	expected := flags.String("expect", "", "SPIFFE ID of the other")
	log := flags.String("log", "", "file")
	every := flags.Float64("every", 0.1, "seconds between two calls")
	if err := flags.Parse(args); err != nil {
		return err
	}
	read := &files{folder: flags.Arg(0), expected: *expected}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *listen))
	if err != nil {
		return err
	}
	go read.serve(listener)
	out, err := os.OpenFile(*log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", *dial)
	for {
		if connection, err := net.DialTimeout("tcp", address, timeout); err == nil {
			_ = connection.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for range time.Tick(time.Duration(*every * float64(time.Second))) {
		line, err := json.Marshal(read.call(address))
		if err != nil {
			return err
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// config is made anew when ..data points elsewhere.
func (f *files) config() (*tls.Config, error) {
	f.Lock()
	defer f.Unlock()
	now, err := filepath.EvalSymlinks(filepath.Join(f.folder, "..data"))
	if err != nil || now == f.seen {
		return f.made, err
	}
	in := func(name string) string { return filepath.Join(now, name) }
	own, err := tls.LoadX509KeyPair(in("tls.crt"), in("tls.key"))
	if err != nil {
		return nil, err
	}
	roots, err := certificates(in("ca.crt"))
	if err != nil {
		return nil, err
	}
	var lists []list
	if _, err := os.Stat(in("crl.pem")); err == nil {
		if lists, err = revocationLists(in("crl.pem")); err != nil {
			return nil, err
		}
	}
	verify := func(state tls.ConnectionState) error {
		return f.check(state, pool(roots), lists)
	}
	f.made = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{own},
		ClientAuth:   tls.RequireAnyClientCert,
		// crypto/tls insists on a host name; check does all of it, for both sides.
		InsecureSkipVerify: true,
		VerifyConnection:   verify,
	}
	f.seen = now
	return f.made, nil
}

func (f *files) check(state tls.ConnectionState, roots *x509.CertPool, lists []list) error {
	leaf := state.PeerCertificates[0]
	now := time.Now()
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: pool(state.PeerCertificates[1:]),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != f.expected {
		return fmt.Errorf("the peer is %v, not %s", leaf.URIs, f.expected)
	}
	if lists == nil {
		return nil
	}
	return notRevoked(paths[0], lists, now)
}

func (f *files) serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() { _ = f.answer(connection) }()
	}
}

func (f *files) answer(plain net.Conn) error {
	defer plain.Close()
	config, err := f.config()
	if err != nil {
		return err
	}
	if err := plain.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	connection := tls.Server(plain, config)
	if _, err := io.ReadFull(connection, make([]byte, 1)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(connection, "%x", serial(connection)); err != nil {
		return err
	}
	return connection.Close()
}

func serial(connection *tls.Conn) any {
	return connection.ConnectionState().PeerCertificates[0].SerialNumber
}

func (f *files) call(address string) outcome {
	made := outcome{At: float64(time.Now().UnixMilli()) / 1000}
	if err := f.talk(address, &made); err != nil {
		made.Error = err.Error()
		return made
	}
	made.OK = true
	return made
}

func (f *files) talk(address string, made *outcome) error {
	config, err := f.config()
	if err != nil {
		return err
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: timeout}, Config: config}
	connection, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := connection.Write([]byte("?")); err != nil {
		return err
	}
	told, err := io.ReadAll(connection)
	if err != nil {
		return err
	}
	if len(told) == 0 {
		return errors.New("closed without an answer")
	}
	made.Ours = string(told)
	if secured, ok := connection.(*tls.Conn); ok {
		made.Theirs = fmt.Sprintf("%x", serial(secured))
	}
	return nil
}
