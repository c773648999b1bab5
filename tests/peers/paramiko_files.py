"""The files of this machine, for paramiko's SFTP server; paths are what the system takes."""

import os

import paramiko
from paramiko.sftp import SFTP_OK


def told(work):
    """A method that answers with a status where the system refuses."""

    def method(*arguments):
        try:
            done = work(*arguments)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return SFTP_OK if done is None else done

    return method


def change(path, attributes):
    """paramiko's own empties a file whose size it sets."""
    size, attributes.st_size = attributes.st_size, None
    if attributes._flags & attributes.FLAG_SIZE:
        attributes._flags &= ~attributes.FLAG_SIZE
        os.truncate(path, size)
    paramiko.SFTPServer.set_file_attr(path, attributes)


class Handle(paramiko.SFTPHandle):
    @told
    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))

    @told
    def chattr(self, attr):
        self.writefile.flush()
        change(self.filename, attr)


class Files(paramiko.SFTPServerInterface):
    @told
    def open(self, path, flags, attr):
        descriptor = os.open(path, flags, attr.st_mode if attr.st_mode is not None else 0o666)
        writing, appending = flags & (os.O_WRONLY | os.O_RDWR), flags & os.O_APPEND
        reading = not flags & os.O_WRONLY
        mode = ("a+b" if reading else "ab") if appending else ("r+b" if reading else "wb") if writing else "rb"
        handle = Handle(flags)
        handle.filename = path
        handle.readfile = handle.writefile = os.fdopen(descriptor, mode)
        return handle

    @told
    def list_folder(self, path):
        found = []
        for name in os.listdir(path):
            attributes = paramiko.SFTPAttributes.from_stat(os.lstat(os.path.join(path, name)))
            attributes.filename = name
            found.append(attributes)
        return found

    @told
    def stat(self, path):
        return paramiko.SFTPAttributes.from_stat(os.stat(path))

    @told
    def lstat(self, path):
        return paramiko.SFTPAttributes.from_stat(os.lstat(path))

    @told
    def remove(self, path):
        os.remove(path)

    @told
    def rename(self, old, new):
        if os.path.lexists(new):
            raise FileExistsError(17, new)
        os.rename(old, new)

    @told
    def posix_rename(self, old, new):
        os.replace(old, new)

    @told
    def mkdir(self, path, attr):
        os.mkdir(path, attr.st_mode if attr.st_mode is not None else 0o777)

    @told
    def rmdir(self, path):
        os.rmdir(path)

    @told
    def chattr(self, path, attr):
        change(path, attr)

    @told
    def symlink(self, target, path):
        os.symlink(target, path)

    @told
    def readlink(self, path):
        return os.readlink(path)

    def canonicalize(self, path):
        return os.path.realpath(path)
