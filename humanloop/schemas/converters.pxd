# How C holds what `converters` declares. It says nothing of what a converter does, but for the two
# functions at the end.

cimport cython
from cpython.dict cimport PyDict_Update
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND

cdef int MAX_DEPTH
cdef dict _integers
cdef dict _floats
cdef object _true
cdef object _false
cdef object _none
cdef object _is_date_time


cdef class Converter:
    cdef readonly bint takes_text
    cdef readonly object interpret
    cdef tuple checks
    cdef object take(self, object value, int depth)
    cdef int check(self, object value) except -1


cdef class Text(Converter):
    pass


cdef class String(Converter):
    cdef object make


cdef class DateTime(Converter):
    cdef object make


cdef class Choice(Converter):
    cdef dict members
    cdef bint is_open


cdef class Number(Converter):
    cdef object cls
    cdef object make
    cdef object of_int(self, object value)
    cdef object of_float(self, object value)


cdef class Integer(Number):
    pass


cdef class Boolean(Converter):
    pass


cdef class Nullable(Converter):
    cdef Converter inner
    cdef object null


cdef class Reference(Converter):
    cdef object find
    cdef Converter target


cdef class Union(Converter):
    cdef dict by_class
    @cython.locals(branch=Converter)
    cdef object take(self, object value, int depth)


cdef class Tagged(Converter):
    cdef str key
    cdef dict choices
    @cython.locals(branch=Converter)
    cdef object take(self, object value, int depth)


cdef tuple tuple_of(Converter item, object values, int depth)


cdef class Array(Converter):
    cdef Converter item
    cdef object make


cdef class Property:
    cdef Converter converter
    cdef int required


cdef class Object(Converter):
    cdef object cls
    cdef object make
    cdef Property others
    cdef dict properties
    cdef int required
    @cython.locals(
        table=dict, missing=int, properties=dict, others=Property, part=Property,
        converter=Converter
    )
    cdef object take(self, object value, int depth)


cdef class Free(Converter):
    cdef Number number
    cdef Object object


cdef bint FILLED

cdef inline object new_object(object cls, object make, dict table):
    return make(table)

cdef inline bint is_common_date_time(str text):
    return False
