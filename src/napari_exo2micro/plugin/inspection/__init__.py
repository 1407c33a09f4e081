"""Looking closely at an alignment: blink, curtain, zoom box, displacement."""
