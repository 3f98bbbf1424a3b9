<?php
// PHP answers. The database is not asked: were it away, replacing instances would
// not bring it back.
header('Content-Type: text/plain');
echo "ok\n";
