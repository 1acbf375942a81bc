// Goverify looks at certificates, CRLs and OCSP answers of agentid as any program in Go would: with
// crypto/x509, and with golang.org/x/crypto/ocsp where that has no answer. It knows nothing of
// agentid.
//
//	goverify verify -chain FILE -bundle FILE [-usage client|server] [-at TIME] [-crl FILE] [-ocsp FILE]
//	goverify peer -listen PORT -dial PORT -expect ID -log FILE FOLDER
//
// verify prints one JSON object. peer serves and calls until it is killed; it does what
// tests/support/peer.py does.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "say verify or peer")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "verify":
		err = verify(os.Args[2:])
	case "peer":
		err = peer(os.Args[2:])
	default:
		err = errors.New("say verify or peer")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func verify(args []string) error {
	flags := flag.NewFlagSet("verify", flag.ExitOnError)
	question := question{}
	flags.StringVar(&question.chain, "chain", "", "leaf first, PEM")
	flags.StringVar(&question.bundle, "bundle", "", "roots, PEM")
	flags.StringVar(&question.usage, "usage", "client", "client or server")
	flags.StringVar(&question.at, "at", "", "RFC 3339; the present without it")
	flags.StringVar(&question.crls, "crl", "", "CRLs, PEM; every certificate is looked up")
	flags.StringVar(&question.ocsp, "ocsp", "", "an OCSP answer about the leaf, DER")
	if err := flags.Parse(args); err != nil {
		return err
	}
	found, err := question.answer()
	if err != nil {
		found.Error = err.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
