package interop

// peers are the implementations that the library is tested with.
var peers = []*peer{gorillaPeer, coderPeer, gwsPeer, gobwasPeer, xnetPeer, nbioPeer, pythonPeer, nodePeer, chromiumPeer, nginxPeer, haproxyPeer}
